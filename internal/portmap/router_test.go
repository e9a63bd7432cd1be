// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package portmap

import (
	"bytes"
	"encoding/binary"
	"maps"
	"net/netip"
	"time"
)

// A router answers PCP, NAT-PMP and searches for UPnP devices.
type router struct {
	lan      *lan // whose lock guards the rest while a Mapper is at work
	pcp, pmp int  // the result code with which requests are answered, or one of those below
	outside  netip.Addr
	outside6 netip.Addr
	lifetime uint32 // granted; if zero, as asked
	port     uint16 // granted; if zero, as asked
	location string // of its UPnP description, if it has one
	booted   time.Time
	delay    time.Duration

	mapped   map[uint16]uint32 // internal port → lifetime
	nonces   map[[12]byte]bool
	requests map[string]int
	tamper   func(a *answer) // changes answers
}

const (
	absent     = -1 // says nothing
	oldVersion = -2 // is a NAT-PMP server that hears PCP
)

func newRouter(l *lan) *router {
	r := &router{
		lan: l, pcp: absent, pmp: absent, outside: outside, outside6: hostV6, booted: time.Now().Add(-1000 * time.Second),
		mapped: make(map[uint16]uint32), nonces: make(map[[12]byte]bool), requests: make(map[string]int),
	}
	l.router = r.handle
	return r
}

// count says how many requests of some kinds have come.
func (r *router) count(kinds ...string) (n int) {
	r.lan.set(func() {
		for _, k := range kinds {
			n += r.requests[k]
		}
	})
	return n
}

// forwards is what the router has mapped, and clients how many nonces it has seen.
func (r *router) forwards() (m map[uint16]uint32) {
	r.lan.set(func() { m = maps.Clone(r.mapped) })
	return m
}

func (r *router) clients() (n int) {
	r.lan.set(func() { n = len(r.nonces) })
	return n
}

// restart loses everything.
func (r *router) restart() {
	r.booted = time.Now()
	clear(r.mapped)
}

func (r *router) epoch() uint32 { return uint32(time.Since(r.booted) / time.Second) }

func (r *router) grant(port uint16, lifetime uint32) (uint16, uint32) {
	if lifetime == 0 {
		delete(r.mapped, port)
		return 0, 0
	}
	if r.lifetime > 0 {
		lifetime = r.lifetime
	}
	r.mapped[port] = lifetime
	if r.port > 0 {
		port = r.port
	}
	return port, lifetime
}

func (r *router) handle(_, to netip.AddrPort, b []byte) []answer {
	var out []byte
	var kind string
	switch {
	case to.Port() == ssdpPort:
		kind = "search"
		if r.location != "" && to.Addr() != routerAddr { // it may answer only one of them
			out = []byte("HTTP/1.1 200 OK\r\nST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\nLOCATION: " +
				r.location + "\r\n\r\n")
		}
	case b[0] == 2:
		kind, out = "pcp", r.handlePCP(b)
	case b[1] == pmpExternal:
		kind, out = "external", r.handleExternal()
	default:
		kind, out = "pmp", r.handlePMP(b)
	}
	r.requests[kind]++
	if out == nil {
		return nil
	}
	from := to
	if to == ssdpGroup {
		from = netip.AddrPortFrom(routerAddr, 1900)
	}
	a := answer{out, from, time.Millisecond + r.delay}
	if r.tamper != nil {
		r.tamper(&a)
	}
	return []answer{a}
}

func (r *router) handlePCP(b []byte) []byte {
	switch r.pcp {
	case absent:
		return nil
	case oldVersion:
		return []byte{0, 0x81, 0, 1, 0, 0, 0, 9}
	}
	out := bytes.Clone(b)
	out[1] |= 0x80
	out[3] = byte(r.pcp)
	binary.BigEndian.PutUint32(out[8:], r.epoch())
	clear(out[12:24])
	if r.pcp != 0 {
		binary.BigEndian.PutUint32(out[4:], 30)
		return out
	}
	r.nonces[[12]byte(b[24:36])] = true
	port, lifetime := r.grant(binary.BigEndian.Uint16(b[40:]), binary.BigEndian.Uint32(b[4:]))
	binary.BigEndian.PutUint32(out[4:], lifetime)
	binary.BigEndian.PutUint16(out[42:], port)
	a := r.outside.As16()
	if ip := netip.AddrFrom16([16]byte(b[8:24])); !ip.Is4In6() {
		a = r.outside6.As16()
	}
	copy(out[44:], a[:])
	return out
}

func (r *router) handleExternal() []byte {
	if r.pmp == absent {
		return nil
	}
	out := []byte{0, 128, 0, byte(r.pmp)}
	out = binary.BigEndian.AppendUint32(out, r.epoch())
	return append(out, r.outside.AsSlice()...)
}

func (r *router) handlePMP(b []byte) []byte {
	if r.pmp == absent {
		return nil
	}
	internal := binary.BigEndian.Uint16(b[4:])
	port, lifetime := r.grant(internal, binary.BigEndian.Uint32(b[8:]))
	out := []byte{0, 129, 0, byte(r.pmp)}
	out = binary.BigEndian.AppendUint32(out, r.epoch())
	out = binary.BigEndian.AppendUint16(out, internal)
	out = binary.BigEndian.AppendUint16(out, port)
	return binary.BigEndian.AppendUint32(out, lifetime)
}
