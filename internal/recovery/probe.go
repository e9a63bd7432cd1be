// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package recovery

import (
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// MaxPacket returns the largest UDP payload to send now, in bytes.
func (t *Tracker[T]) MaxPacket() int { return t.path.mtu.limit(t.probes) }

// MTUProbe returns the size of a packet to send now in order to learn whether the path carries packets as large; zero:
// none. It asks for one only while packets of the present size are being delivered.
func (t *Tracker[T]) MTUProbe(now time.Time) int {
	i := t.clock(now)
	p := &t.path
	if t.backoff > 0 || t.probes > 0 || p.rtt.first == 0 {
		return 0
	}
	size := p.mtu.probe(i)
	if size > p.cc.Window() {
		return 0
	}
	return size
}

// SentProbe records that packet pn was sent because MTUProbe asked for it.
func (t *Tracker[T]) SentProbe(now time.Time, pn uint64, size int) {
	i := t.clock(now)
	t.number(pn)
	t.stats.MTUProbes++
	p := &t.path
	if p.mtu.flying {
		t.settleMTUProbe()
	}
	t.makeRoom()
	s := t.sent.push(pn)
	s.at, s.size, s.state, s.flags = i, int32(size), slotInFlight, flagMTUProbe
	if p.ecn.packetSent() {
		s.flags |= flagMarked
	}
	p.mtu.probeSent(i, pn, size)
	p.paced(size)
}

// settleMTUProbe gives up a probe whose fate will not be known.
func (t *Tracker[T]) settleMTUProbe() {
	m := &t.path.mtu
	if i := t.sent.find(m.pn); i < t.sent.n && t.sent.at(i).pn == m.pn {
		t.sent.at(i).state = slotLost
	}
	m.probeLost()
	t.trim()
}

// ECN returns the mark for the next packet.
func (t *Tracker[T]) ECN() wire.ECN { return t.path.ecn.mark() }
