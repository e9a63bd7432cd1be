// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"log/slog"
	"slices"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
	"github.com/seed-98f0d4c2/runnel/signaling"
)

// handleMove takes a message by which from says where it is now, for a session that lives. It says so for one session,
// named by both its IDs, which only the two ends know. If there is no such session the peer is told so.
func (e *Endpoint) handleMove(from ID, m *signaling.Message) {
	s := e.route(m.PeerSession)
	if s != nil && s.id != from {
		e.drop(dropBadSignal)
		return
	}
	if !e.fresh(m) {
		return
	}
	if s == nil || !s.tell(func(now time.Time) { s.handleMove(now, m) }) {
		e.drop(dropBadSignal)
		e.sayGone(from, m)
	}
}

func (s *Session) handleMove(now time.Time, m *signaling.Message) {
	if s.phase != phaseReady || m.PeerSession != s.local || m.Session != s.remote {
		s.e.drop(dropBadSignal)
		if s.phase >= phaseLinger && m.Session == s.remote {
			s.e.sayGone(s.id, m) // what it was told may have gone to where it no longer is
		}
		return
	}
	s.heardOf(now, m.Seq, m.Candidates)
}

// handleAddresses takes an ADDRESSES chunk.
func (s *Session) handleAddresses(now time.Time, body []byte) error {
	var room [wire.MaxAddresses]wire.Address
	seq, list, err := wire.ParseAddresses(room[:0], body)
	if err != nil || seq <= s.moves.heard || s.phase != phaseReady {
		return err
	}
	told := make([]signaling.Candidate, 0, len(list))
	for _, a := range list {
		told = append(told, signaling.Candidate{Kind: signalKinds[a.Kind], Addr: a.Addr})
	}
	s.heardOf(now, seq, told)
	return nil
}

// heardOf takes in where the peer says it is: all of it, in place of what it has said before under lower numbers.
// Of lists that come faster than one moves the last takes effect, a little later.
func (s *Session) heardOf(now time.Time, seq uint64, list []signaling.Candidate) {
	a := &s.moves
	if seq <= a.heard {
		return
	}
	a.heard = seq
	known := make([]signaling.Candidate, 0, len(list))
	for _, c := range list {
		if len(known) < signaling.MaxCandidates && s.e.usable(c.Addr) && !slices.Contains(known, c) {
			known = append(known, c)
		}
	}
	a.list, a.listAt = known, a.lists.Due(now, listEvery, listBurst)
	if !a.listAt.After(now) {
		s.takeIn(now)
	}
}

// takeIn lets the latest list of the peer's addresses take effect.
func (s *Session) takeIn(now time.Time) {
	a := &s.moves
	known := a.list
	a.list, a.listAt = nil, time.Time{}
	a.lists.Take(now, listEvery)
	s.log.Debug("peer's addresses", slog.Uint64("seq", a.heard), slog.Any("addrs", known))
	moved := s.paths.abandoned(s.mob.Current().Remote, known)
	s.paths.remote = known
	s.permitRemote()
	s.mob.HandleCandidates(now, s.ways())
	if moved {
		s.mob.HandleLocalChange(now, "the peer has moved")
	}
	if !a.again.IsZero() { // it may know as little of us
		a.again = now
		if at := a.last.Add(announceMin); at.After(now) { // several lists may have waited for us at the rendezvous
			a.again = at
		}
		if a.wide && (a.sentSeq != a.seq || now.Sub(a.sentAt) >= moveEvery) {
			a.signalAt, a.unless = now, time.Time{}
		}
	}
}

// signalKinds are the kinds of addresses as signaling names them.
var signalKinds = [...]string{
	wire.AddressHost: signaling.CandidateHost, wire.AddressReflexive: signaling.CandidateSrflx,
	wire.AddressRelayed: signaling.CandidateRelay,
}

func wireKind(kind string) wire.AddressKind {
	return wire.AddressKind(max(0, slices.Index(signalKinds[:], kind)))
}

// sameCandidates says whether two lists without repetitions have the same content.
func sameCandidates(a, b []signaling.Candidate) bool {
	if len(a) != len(b) {
		return false
	}
	for _, c := range a {
		if !slices.Contains(b, c) {
			return false
		}
	}
	return true
}
