// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// What a PUNCH chunk says. A receiver ignores others.
const (
	PunchHello  uint8 = 1 // this is my NAT; let us try
	PunchGo     uint8 = 2 // learn your next port now
	PunchReady  uint8 = 3 // my next ports are as said
	PunchSearch uint8 = 4 // I have opened sockets that nobody can predict, or look for yours
	PunchStop   uint8 = 5 // the attempt is over
)

// Limits of a PUNCH chunk.
const (
	MaxPunchStride = 1024 // between two ports in sequence, either way
	MaxPunchCount  = 4096
	MaxPunchNumber = 1 << 32 // of an attempt or a round
)

// Punch is a PUNCH chunk: what two peers behind hard NATs tell each other, over the session, to meet directly.
// docs/PROTOCOL.md, "Hard NATs".
type Punch struct {
	Phase     uint8
	Attempt   uint64
	Round     uint64
	Mapping   uint8 // as package mobility numbers them
	Ports     uint8
	Stride    int    // from one port to the next, if they are in sequence
	Low, High uint16 // where the sender's ports lie, as far as it knows
	Count     int    // ports in question, or sockets open
	Addr      netip.AddrPort
}

// AppendPunch appends a PUNCH chunk.
//
//	+----------+---------+-------+------------+----------+-----------+--------+---------+-------+-----------+---------+
//	| phase(1) | attempt | round | mapping(1) | ports(1) | stride    | low(2) | high(2) | count | family(1) | address |
//	+----------+---------+-------+------------+----------+-----------+--------+---------+-------+-----------+---------+
//
// Stride is a varint of 2n for n ≥ 0, of −2n−1 otherwise. Family is 4 or 6, followed by an address and a port of two
// bytes, or 0, followed by nothing.
func AppendPunch(b []byte, p *Punch) []byte {
	var buf [64]byte
	body := append(buf[:0], p.Phase)
	body = AppendVarint(body, p.Attempt)
	body = AppendVarint(body, p.Round)
	body = append(body, p.Mapping, p.Ports)
	stride := uint64(2 * max(p.Stride, 0))
	if p.Stride < 0 {
		stride = uint64(-2*p.Stride - 1)
	}
	body = AppendVarint(body, stride)
	body = binary.BigEndian.AppendUint16(body, p.Low)
	body = binary.BigEndian.AppendUint16(body, p.High)
	body = AppendVarint(body, uint64(max(p.Count, 0)))
	switch ip := p.Addr.Addr(); {
	case !p.Addr.IsValid():
		body = append(body, 0)
	case ip.Is4():
		body = append(body, 4)
		body = append(body, ip.AsSlice()...)
		body = binary.BigEndian.AppendUint16(body, p.Addr.Port())
	default:
		a := ip.As16()
		body = append(body, 6)
		body = append(body, a[:]...)
		body = binary.BigEndian.AppendUint16(body, p.Addr.Port())
	}
	return AppendChunk(b, ChunkPunch, body)
}

// ParsePunch parses the body of a PUNCH chunk.
func ParsePunch(body []byte) (p Punch, err error) {
	short := func() (Punch, error) { return Punch{}, fmt.Errorf("%w: punch", ErrTruncated) }
	bad := func(what string) (Punch, error) { return Punch{}, fmt.Errorf("%w: punch: %s", ErrMalformed, what) }
	ok := true
	varint := func() uint64 {
		v, n := ReadVarint(body)
		ok = ok && n > 0
		body = body[n:]
		return v
	}
	octets := func(n int) []byte {
		if len(body) < n {
			ok = false
			return make([]byte, n)
		}
		out := body[:n]
		body = body[n:]
		return out
	}
	p.Phase = octets(1)[0]
	p.Attempt, p.Round = varint(), varint()
	kind := octets(2)
	p.Mapping, p.Ports = kind[0], kind[1]
	stride := varint()
	p.Low, p.High = binary.BigEndian.Uint16(octets(2)), binary.BigEndian.Uint16(octets(2))
	count := varint()
	family := octets(1)[0]
	switch {
	case !ok:
		return short()
	case max(p.Attempt, p.Round) > MaxPunchNumber:
		return bad("number")
	case stride > 2*MaxPunchStride:
		return bad("stride")
	case count > MaxPunchCount:
		return bad("count")
	}
	p.Stride, p.Count = int(stride/2), int(count)
	if stride%2 == 1 {
		p.Stride = -p.Stride - 1
	}
	if family != 0 {
		size := map[byte]int{4: 4, 6: 16}[family]
		if size == 0 {
			return bad("family")
		}
		ip, _ := netip.AddrFromSlice(octets(size))
		port := binary.BigEndian.Uint16(octets(2))
		if !ok {
			return short()
		}
		if ip.Is4In6() {
			return bad("mapped address")
		}
		p.Addr = netip.AddrPortFrom(ip, port)
	}
	if len(body) > 0 {
		return bad("excess bytes")
	}
	return p, nil
}
