// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package turnx

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/pionx/stunx"
)

const (
	// MaxPacket is the largest packet that WriteTo takes. What fits into an Ethernet frame after the relay's framing
	// is smaller: keep to 1200 bytes unless the path is known.
	MaxPacket = 1500
	// queueLen is the capacity of the send queue in packets.
	queueLen = 256

	channelHeader = 4 // of channel data (RFC 8656 §12.4)
)

// packet is a queued packet with room for a channel header in front.
type packet struct {
	b  []byte
	to netip.AddrPort
}

// ring is a bounded queue that keeps and reuses the memory of its packets.
type ring struct {
	slots [queueLen]packet
	head  int // oldest
	n     int
}

func (q *ring) push(b []byte, to netip.AddrPort) bool {
	if q.n == len(q.slots) {
		return false
	}
	s := &q.slots[(q.head+q.n)%len(q.slots)]
	s.b = append(append(s.b[:0], 0, 0, 0, 0), b...)
	s.to = to
	q.n++
	return true
}

// pop exchanges the oldest packet with *p, whose memory stays behind for later.
func (q *ring) pop(p *packet) bool {
	if q.n == 0 {
		return false
	}
	s := &q.slots[q.head]
	*s, *p = *p, *s
	q.head = (q.head + 1) % len(q.slots)
	q.n--
	return true
}

// WriteTo sends b to a peer from the relayed address. It never blocks and copies b. nil means that the packet was
// queued, not that it arrives: this is a datagram. [ErrNoPermission] means that Permit was not called for the address
// or that the server refused it, [ErrQueueFull] that the connection to the server is slower than the sender; both are
// counted in Stats. After the end of the allocation it returns Err.
func (a *Allocation) WriteTo(b []byte, to netip.AddrPort) error {
	to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	if len(b) > MaxPacket {
		return ErrTooLarge
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err != nil {
		return a.err
	}
	if a.quiet {
		return ErrClosed
	}
	p := a.perms[to.Addr()]
	if p == nil {
		a.stats.noPermission.Add(1)
		return ErrNoPermission
	}
	if p.refused != nil {
		a.stats.noPermission.Add(1)
		return p.refused
	}
	if !a.queue.push(b, to) {
		a.stats.queueFull.Add(1)
		return ErrQueueFull
	}
	wake(a.kick)
	return nil
}

// write is the writer: it alone sends data, and first requests for permissions in front of the data they are for.
func (a *Allocation) write() {
	var (
		p       packet
		scratch []byte
	)
	for {
		a.mu.Lock()
		fresh := a.fresh
		a.fresh = nil
		got := len(fresh) == 0 && a.queue.pop(&p)
		var c *channel
		if got {
			c = a.channelFor(p.to, time.Now())
		}
		ended := a.err != nil
		a.mu.Unlock()
		switch {
		case ended:
			return
		case len(fresh) > 0:
			a.askFresh(fresh)
		case got:
			scratch = a.send(&p, c, scratch)
		default:
			select {
			case <-a.kick:
			case <-a.done:
				return
			}
		}
	}
}

// send puts one packet on the wire: as channel data when there is a channel, else as a Send indication.
func (a *Allocation) send(p *packet, c *channel, scratch []byte) []byte {
	out := p.b
	if c != nil {
		binary.BigEndian.PutUint16(out, c.number)
		binary.BigEndian.PutUint16(out[2:], uint16(len(out)-channelHeader))
	} else {
		scratch = stunx.NewBuilder(scratch, stunx.Send, stunx.Indication, stunx.NewTransaction()).
			AddXORAddr(stunx.XORPeerAddress, p.to).Add(stunx.DataAttr, p.b[channelHeader:]).Bytes()
		out = scratch
	}
	if _, err := a.conn.WriteTo(out, a.to); err != nil {
		a.stats.sendErrors.Add(1)
		return scratch
	}
	a.stats.sent.Add(1)
	return scratch
}
