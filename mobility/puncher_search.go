// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mobility

import (
	"net/netip"
	"time"
)

// searchSlack is how many packets of a search may leave at once.
const searchSlack = 4

// A search is a birthday search: one side opens sockets whose ports nobody can predict, the other tries ports, each
// once. With 256 open of 64511, 174 tries find one with a probability of a half, 750 of 95 %.
//
// That side sends from each socket to the one address that the other has. Its filter is open then; whichever of two
// packets comes second gets through.
type search struct {
	running bool
	looking bool // the other side's part

	// Who looks.
	low, high uint16
	tried     []uint64 // ports, as bits
	count     int

	// Who is found.
	opened    int
	confirmed int // of them, when the NAT was last seen to make new mappings
	repeats   int
	full      bool // no more sockets
}

func (s *search) begin(p *Puncher, looking bool) {
	*s = search{running: true, looking: looking, low: p.peer.Low, high: p.peer.High}
	if s.low < 1 || int(s.high)-int(s.low) < 2*punchProbes {
		s.low, s.high = 1024, 65535
	}
	if looking {
		s.tried = make([]uint64, 1<<10)
	}
}

// next returns when the next packet may be sent, or the zero time if something else has to happen before.
func (s *search) next(p *Puncher) time.Time {
	if !s.running || !s.looking && !s.full && s.opened < p.c.Sockets && s.opened-s.confirmed >= maxUnconfirmed(s.confirmed) {
		return time.Time{}
	}
	at := p.tat.Add(-searchSlack * p.interval())
	if until := p.winning(); until.After(at) {
		return until
	}
	return at
}

// maxUnconfirmed is how many more sockets may be open than the NAT has been seen to bear: first few, then as many again.
func maxUnconfirmed(confirmed int) int { return min(max(2*confirmed, 2*searchBlock), 8*searchBlock) }

// look reports whether the NAT is to be looked at when n sockets are open. STUN servers answer ten times a second or so.
func look(n int) bool { return n%(4*searchBlock) == 0 || n == searchBlock || n == 2*searchBlock }

// bears notes that the NAT still made a mapping for the n-th socket.
func (s *search) bears(n int) { s.confirmed = max(s.confirmed, n) }

// exhausted gives up the sockets that the NAT made no mapping for.
func (s *search) exhausted(p *Puncher) {
	s.full = true
	for n := s.opened; n > s.confirmed; n-- {
		if slot := p.searchSlot(n); p.opened[slot] && !p.hit(slot) {
			p.close(slot)
		}
	}
	s.opened = s.confirmed
}

// searchSlot returns the slot of the n-th socket of a search, which begins with an attempt's first.
func (p *Puncher) searchSlot(n int) int { return n }

// step sends the next packet of the search.
func (s *search) step(now time.Time, p *Puncher) {
	if s.looking {
		if s.count++; s.count > int(s.high)-int(s.low) {
			s.running = false
			return
		}
		port := s.low + uint16(p.random(int(s.high)-int(s.low)+1))
		for s.tried[port/64]&(1<<(port%64)) != 0 {
			if port++; port > s.high || port < s.low {
				port = s.low
			}
		}
		s.tried[port/64] |= 1 << (port % 64)
		if to := netip.AddrPortFrom(p.peer.Addr.Addr(), port); p.c.Usable(to) {
			p.push(PunchAction{Op: PunchProbe, Addr: to})
		}
		return
	}
	if s.opened < p.c.Sockets && !s.full {
		slot := p.slots(1)
		s.opened++
		p.push(PunchAction{Op: PunchProbe, Slot: slot, Addr: p.peer.Addr})
		if look(s.opened) {
			// Does the NAT make new mappings, and does it still know the one that everything else depends on?
			p.ask(now, slot, true)
			p.ask(now, 0, true)
		}
		return
	}
	// Again from all that are open, in case a packet was lost.
	if s.opened == 0 {
		s.running = false
		return
	}
	slot := p.searchSlot(1 + s.repeats%s.opened)
	s.repeats++
	if p.opened[slot] {
		p.push(PunchAction{Op: PunchProbe, Slot: slot, Addr: p.peer.Addr})
	}
}
