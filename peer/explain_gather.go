// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/seed-98f0d4c2/runnel/mobility"
	"github.com/seed-98f0d4c2/runnel/signaling"
)

// maxPunches is how many attempts against hard NATs a session remembers.
const maxPunches = 8

// notePunch remembers how an attempt to get through hard NATs has ended.
func (s *Session) notePunch(now time.Time, why string) {
	if len(s.punches) == maxPunches {
		s.punches = slices.Delete(s.punches, 0, 1)
	}
	s.punches = append(s.punches, PunchFacts{now, why})
}

// A check is when ICE was told of an address of the peer.
type check struct {
	addr netip.AddrPort
	at   time.Time
}

// noteCheck remembers that ICE checks an address from now on.
func (s *Session) noteCheck(now time.Time, addr netip.AddrPort) {
	if len(s.checks) < signaling.MaxCandidates {
		s.checks = append(s.checks, check{addr, now})
	}
}

// explain gathers what is known of the session, or returns what was when it ended.
func (s *Session) explain(now time.Time) *Explanation {
	if s.explained != nil {
		return s.explained
	}
	return s.examine(now, nil)
}

// examine gathers what is known; err is why the session ends now, or nil.
func (s *Session) examine(now time.Time, err error) *Explanation {
	x := &Explanation{
		Peer: s.id, At: now, Born: s.born, Dialled: s.dialled, Stage: s.stage, Policy: s.addresses.String(),
		Local: candidateFacts(s.moves.told), Remote: candidateFacts(s.paths.remote),
		STUN: s.e.stun.report(), PortMapping: s.e.portmap.report(), Relays: s.e.relays.report(), Changes: s.e.ground.report(s.born),
		Punches:  slices.Clone(s.punches),
		Switches: s.counts.pathChanges, Stalls: s.counts.stalls, StalledFor: s.counts.stalledFor, cause: err,
	}
	x.MaxPacket, x.ECN = s.mux.MaxPacket(), s.mux.Stats().ECN
	life := time.Duration(0)
	if err != nil {
		life = viewLife
	}
	nets, offline, mapping := s.e.look(now, life)
	x.offline = offline
	if s.at != nil && s.moves.told == nil {
		x.Local = candidateFacts(s.at.told)
	}
	for i, m := range s.timeline {
		f := MarkFacts{Name: m.Name, At: m.At}
		if i > 0 {
			f.Took = m.At - s.timeline[i-1].At
		}
		x.Timeline = append(x.Timeline, f)
	}
	x.NAT, x.PeerNAT = s.natFacts(mapping)
	s.explainPaths(now, x, nets)
	s.explainState(now, x)
	x.Remedy = x.remedy()
	return x
}

func (s *Session) explainState(now time.Time, x *Explanation) {
	dial, failed := errors.AsType[*DialError](x.cause)
	switch {
	case failed:
		x.State, x.Since, x.cause = StateFailed, now, dial.Err
		x.Error = dial.Error()
	case x.cause != nil:
		x.State, x.Since, x.Error = StateClosed, now, x.cause.Error()
	case s.phase < phaseReady || s.mob == nil:
		x.State, x.Since = StateEstablishing, s.born
	case !s.stalled.IsZero():
		x.State, x.Since = StateStalled, s.stalled
		x.StalledFor += now.Sub(s.stalled)
	default:
		x.State = StateDirect
		if s.mob.Current().Kind == mobility.Relayed {
			x.State = StateRelayed
		}
		x.Since = s.born
		for _, m := range s.timeline {
			if m.Name == "ready" {
				x.Since = s.born.Add(m.At)
			}
		}
		was := x.State
		for _, r := range s.mob.History() { // the last time that the kind became this one
			is := StateDirect
			if r.Path.Kind == mobility.Relayed {
				is = StateRelayed
			}
			if r.What == mobility.Switched && is != was {
				was = is
				if is == x.State {
					x.Since = r.At
				}
			}
		}
	}
}

// natFacts says what is known of the NATs of both sides.
func (s *Session) natFacts(mapping mobility.Mapping) (here, there NATFacts) {
	class := mobility.NATClass{Mapping: mapping}
	peer := mobility.NATClass{}
	said := false
	if s.punch != nil {
		if c := s.punch.m.Class(); c.Mapping == class.Mapping {
			class = c
		}
		peer, said = s.punch.m.Peer()
	}
	there = natFact(peer)
	if !said {
		var seen []netip.AddrPort
		for _, c := range s.paths.remote {
			if c.Kind != signaling.CandidateSrflx || !c.Addr.Addr().Is4() {
				continue
			}
			if slices.ContainsFunc(seen, func(a netip.AddrPort) bool { return a.Addr() == c.Addr.Addr() }) {
				there = natFact(mobility.NATClass{Mapping: mobility.MappingDependent})
				there.Guessed = true
			}
			seen = append(seen, c.Addr)
		}
	}
	return natFact(class), there
}

func natFact(c mobility.NATClass) NATFacts {
	return NATFacts{Mapping: c.Mapping.String(), Ports: c.Ports.String(), Step: c.Step, class: c}
}

func candidateFacts(list []signaling.Candidate) []CandidateFacts {
	var out []CandidateFacts
	for _, c := range list {
		out = append(out, CandidateFacts{c.Kind, c.Addr})
	}
	return out
}
