// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import "time"

// An itemKind says what a packet told the peer.
type itemKind uint8

const (
	itemData itemKind = iota
	itemOpen
	itemEnd
	itemAbort
	itemReject
	itemWindow
	itemLimits
	itemAck
)

// An item is one thing a packet told the peer, kept until the packet's fate is known. It names intent, not bytes: what
// has to be sent again is made anew.
type item struct {
	kind itemKind
	s    *Sender   // itemData, itemOpen, itemEnd, itemAbort
	r    *Receiver // itemReject, itemWindow
	seq  uint64    // itemData: message; itemAck: largest packet acknowledged
	a, b int       // itemData: units of the message, see sendMsg
}

// A packetState says what is known of a packet.
type packetState uint8

const (
	packetGone     packetState = iota // acknowledged, lost, or not worth tracking
	packetInFlight                    // its fate is awaited
)

// A sentPacket records a packet whose fate matters.
type sentPacket struct {
	at        time.Time
	size      int
	state     packetState
	eliciting bool
	requeued  bool // its items have been sent again by a probe
	items     []item
}

// A sentRing holds the packets from the oldest whose fate is awaited to the newest.
type sentRing struct {
	q    queue[sentPacket]
	base uint64 // number of the first
}

// next returns the number following the newest packet.
func (s *sentRing) next() uint64 { return s.base + uint64(s.q.len()) }

// at returns the packet with number pn, which must be in [base, next).
func (s *sentRing) at(pn uint64) *sentPacket { return s.q.at(int(pn - s.base)) }

// push appends the record of packet pn. Numbers that were skipped count as gone.
func (s *sentRing) push(pn uint64) *sentPacket {
	if s.q.len() == 0 {
		s.base = pn
	}
	for s.next() < pn {
		*s.slot() = sentPacket{}
	}
	return s.slot()
}

// slot returns a cleared slot that keeps the memory of its items.
func (s *sentRing) slot() *sentPacket {
	p := s.q.push()
	*p = sentPacket{items: p.items[:0]}
	return p
}

// trim drops packets from the old end whose fate is known.
func (s *sentRing) trim() {
	for s.q.len() > 0 && s.q.at(0).state == packetGone {
		p := s.q.pop()
		clear(p.items) // do not retain flows
		s.base++
	}
}

// drop forgets all packets.
func (s *sentRing) drop() {
	for s.q.len() > 0 {
		s.q.at(0).state = packetGone
		s.trim()
	}
}
