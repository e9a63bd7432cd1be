// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/seal"
	"github.com/seed-98f0d4c2/runnel/mobility"
	"github.com/seed-98f0d4c2/runnel/signaling"
)

// handleCandidates takes addresses that the peer has found since its offer or answer.
func (s *Session) handleCandidates(now time.Time, m *signaling.Message) {
	if s.at == nil || s.at.id != attemptID(m.Attempt) || s.moves.heard > 0 {
		return
	}
	s.addRemote(now, m.Candidates)
}

// addRemote takes in where the peer says it may be reached, in addition to what it has said before, while the session
// is being established.
func (s *Session) addRemote(now time.Time, list []signaling.Candidate) {
	at, p := s.at, &s.paths
	first := len(p.remote)
	for _, c := range list {
		if len(p.remote) < signaling.MaxCandidates && s.e.usable(c.Addr) && !slices.Contains(p.remote, c) {
			p.remote = append(p.remote, c)
		}
	}
	s.permitRemote()
	for _, c := range p.remote[first:] {
		if c.Kind != signaling.CandidateRelay && at.agent != nil && s.permits(mobility.Key{Remote: c.Addr}) {
			s.noteCheck(now, c.Addr)
			if err := at.agent.AddRemote(c.Addr, c.Kind); err != nil {
				s.log.Debug("candidate refused", slog.Any("addr", c.Addr), slog.Any("err", err))
			}
		}
		for _, t := range s.waysTo(c) {
			s.addTarget(now, t, false)
		}
	}
}

// waysTo lists the bindings that a packet may take to an address of the peer.
func (s *Session) waysTo(c signaling.Candidate) []mobility.Candidate {
	var out []mobility.Candidate
	kind := mobility.Direct
	if c.Kind == signaling.CandidateRelay {
		kind = mobility.Relayed
	}
	out = append(out, mobility.Candidate{Key: mobility.Key{Remote: c.Addr}, Kind: kind})
	for _, via := range s.e.relays.vias(c.Addr.Addr()) {
		out = append(out, mobility.Candidate{Key: mobility.Key{Via: via, Remote: c.Addr}, Kind: mobility.Relayed})
	}
	return slices.DeleteFunc(out, func(c mobility.Candidate) bool { return !s.permits(c.Key) })
}

// ways lists what the peer's addresses and our bindings give, the most promising first: the path machine has room for
// few.
func (s *Session) ways() []mobility.Candidate {
	var ranked [4][]mobility.Candidate
	symmetric := s.paths.symmetric()
	for _, c := range s.paths.remote {
		relayed := c.Kind == signaling.CandidateRelay
		for _, w := range s.waysTo(c) {
			rank := 1 // the peer's own address
			switch {
			case w.Via != 0 && symmetric && c.Kind == signaling.CandidateSrflx:
				continue // it will send to our relay from a port of its own
			case w.Via != 0 && relayed:
				rank = 0 // from relay to relay: open whatever NATs do
			case w.Via != 0 || relayed:
				rank = 2
			case c.Addr.Addr().IsPrivate() && c.Kind == signaling.CandidateHost:
				rank = 3 // of use on the same network only
			}
			ranked[rank] = append(ranked[rank], w)
		}
	}
	return slices.Concat(ranked[:]...)
}

// addTarget adds a way to the peer: for handshake packets while there are no keys, for the path machine later.
func (s *Session) addTarget(now time.Time, c mobility.Candidate, open bool) {
	if s.mob != nil {
		s.mob.HandleCandidate(now, c)
		return
	}
	at := s.at
	if at == nil {
		return
	}
	i := slices.IndexFunc(at.targets, func(t target) bool { return t.Key == c.Key })
	switch {
	case i >= 0 && (at.targets[i].open || !open):
		return
	case i >= 0:
		at.targets[i].open = true
	case len(at.targets) >= maxTargets:
		return
	default:
		at.targets = append(at.targets, target{c, open})
	}
	if at.role == seal.Initiator && !at.havePath && at.haveSID {
		for _, b := range at.flight {
			s.writeHandshake(c.Key, b)
		}
	}
}

// candidatesChanged tells the peer of addresses that this endpoint has learnt since, and tries new relays.
func (s *Session) candidatesChanged(now time.Time) {
	if s.mob != nil && s.phase <= phaseReady { // a new relay is a new way to the peer's addresses
		s.mob.HandleCandidates(now, s.ways())
	}
	if s.phase == phaseReady {
		s.announce(now, false)
		return
	}
	at := s.at
	if at == nil || at.direct || s.phase > phaseReady {
		return
	}
	if at.haveSID {
		for _, c := range s.paths.remote {
			for _, t := range s.waysTo(c) {
				s.addTarget(now, t, false)
			}
		}
	}
	var fresh []signaling.Candidate
next:
	for _, c := range s.e.localCandidates(s.tells) {
		for _, t := range at.told {
			if t.Addr == c.Addr {
				continue next
			}
		}
		fresh = append(fresh, c)
	}
	fresh = fresh[:min(len(fresh), signaling.MaxCandidates-len(at.told))]
	if len(fresh) == 0 {
		return
	}
	at.told = append(at.told, fresh...)
	m := s.message(at, signaling.KindCandidates, now)
	m.Candidates = fresh
	payload, err := signaling.Seal(s.e.cfg.Key, s.id, m)
	if err != nil {
		s.log.Error("candidates not sealed", slog.Any("err", err))
		return
	}
	s.signal(outgoing{payload, signaling.KindCandidates})
}

// handleDirectPath takes an address to which ICE has found an open way.
func (s *Session) handleDirectPath(now time.Time, addr netip.AddrPort) {
	if s.phase > phaseReady || !s.e.usable(addr) || s.paths.isRelayed(addr) {
		return
	}
	c := mobility.Candidate{Key: mobility.Key{Remote: addr}, Kind: mobility.Direct}
	if s.mob == nil && s.at != nil && s.stage == StagePath && !s.at.checked {
		s.at.checked = true
		s.mark("check", now)
	}
	s.addTarget(now, c, true)
}
