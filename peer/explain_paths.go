// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/seed-98f0d4c2/runnel/mobility"
	"github.com/seed-98f0d4c2/runnel/signaling"
)

// explainPaths lists every way to the peer: those that the path machine knows, those that it has tried and forgotten, and
// those that the peer's addresses would give.
func (s *Session) explainPaths(now time.Time, x *Explanation, nets []netip.Prefix) {
	add := func(c mobility.Candidate) *PathFacts {
		if i := slices.IndexFunc(x.Paths, func(p PathFacts) bool { return p.key == c.Key }); i >= 0 {
			return &x.Paths[i]
		}
		p := PathFacts{State: PathUntried, Kind: c.Kind.String(), Local: s.e.localAddr(c.Key), Remote: c.Remote, key: c.Key}
		if c.Via > 0 {
			p.Relay = s.e.relays.hostOf(c.Via)
		}
		for _, r := range s.paths.remote {
			if r.Addr == c.Remote {
				p.Named = r.Kind
			}
		}
		x.Paths = append(x.Paths, p)
		return &x.Paths[len(x.Paths)-1]
	}
	if s.mob != nil {
		for _, p := range s.mob.Paths() {
			f := add(mobility.Candidate{Key: p.Key, Kind: p.Kind})
			f.RTT, f.Loss, f.Heard, f.BytesIn, f.BytesOut = p.RTT, p.Loss, p.LastReceived, p.BytesIn, p.BytesOut
			switch {
			case p.Current:
				f.State = PathCurrent
			case p.Validated:
				f.State = PathWorks
			}
		}
		for _, t := range s.mob.Trials() {
			f := add(t.Candidate)
			f.Tried, f.LastTried, f.Challenges, f.Answers = t.First, t.Last, t.Challenges, t.Answers
			if f.State == PathUntried && t.Challenges > 0 {
				f.State = PathSilent
				if now.Sub(t.Last) < time.Second {
					f.State = PathTrying
				}
			}
		}
	}
	if s.at != nil {
		for _, t := range s.at.targets {
			if f := add(t.Candidate); f.State == PathUntried && s.at.tries > 0 && s.mob == nil {
				f.State, f.Challenges = PathSilent, s.at.tries
				if t.open {
					f.State = PathTrying
				}
			}
		}
	}
	for _, c := range s.paths.remote {
		s.explainCandidate(c, add)
	}
	for _, c := range s.checks {
		f := add(mobility.Candidate{Key: mobility.Key{Remote: c.addr}})
		if f.State != PathUntried {
			continue
		}
		f.State, f.Tried, f.checked = PathSilent, c.at, true
		if s.at != nil && s.at.agent != nil {
			f.State = PathTrying
		}
	}
	for i := range x.Paths {
		x.Paths[i].foreign = x.Paths[i].Remote.Addr().IsPrivate() && !onLAN(nets, x.Paths[i].Remote.Addr())
		x.Paths[i].Why = s.whyPath(x, &x.Paths[i])
	}
	rank := []PathState{PathCurrent, PathWorks, PathTrying, PathSilent, PathUntried, PathNotToUse}
	slices.SortStableFunc(x.Paths, func(a, b PathFacts) int {
		return cmp.Compare(slices.Index(rank, a.State), slices.Index(rank, b.State))
	})
	if len(x.Paths) > 0 && x.Paths[0].State == PathCurrent {
		x.Path = &x.Paths[0]
	}
	if s.mob == nil {
		return
	}
	for _, r := range s.mob.History() {
		x.Decisions = append(x.Decisions, DecisionFacts{r.At, string(r.What), r.Path.String(), r.Why, r.Count})
	}
}

// explainCandidate adds the ways to one address of the peer. Relays of ours count only where they might do.
func (s *Session) explainCandidate(c signaling.Candidate, add func(mobility.Candidate) *PathFacts) {
	ways := s.waysTo(c)
	for _, w := range ways {
		add(w)
	}
	if own := (mobility.Key{Remote: c.Addr}); !s.permits(own) {
		w := mobility.Candidate{Key: own}
		if c.Kind == signaling.CandidateRelay {
			w.Kind = mobility.Relayed
		}
		add(w).State = PathNotToUse
	}
}

// whyPath says why a path is in use, or is not.
func (s *Session) whyPath(x *Explanation, f *PathFacts) string {
	switch f.State {
	case PathCurrent:
		for _, r := range slices.Backward(s.mob.History()) {
			if r.What == mobility.Switched && r.Path.Key == f.key {
				return r.Why
			}
		}
		return "the handshake was completed by it"
	case PathWorks:
		switch cur := s.mob.Current(); {
		case f.Kind == mobility.Relayed.String() && cur.Kind == mobility.Direct:
			return "a direct path is preferred; this one is kept to fall back on"
		case f.RTT >= cur.RTT:
			return "it takes no less time than the one in use"
		default:
			return "it is not better by enough to change"
		}
	case PathNotToUse:
		return "the address policy, " + x.Policy + ", forbids it"
	case PathUntried:
		switch {
		case s.e.socketFor(f.Remote.Addr()) == nil:
			return "this host has no socket for " + family(f.Remote.Addr())
		case s.mob != nil && len(s.mob.Paths()) >= mobility.MaxPaths:
			return "there are better ones, and no room for more"
		}
		return "it has not been its turn"
	case PathTrying:
		return "an answer is awaited"
	}
	why := "no challenge has been answered"
	switch {
	case f.checked:
		why = "no connectivity check (ICE) has been answered"
	case s.mob == nil:
		why = "the handshake was sent there, and nothing came back"
	}
	switch {
	case f.Answers > 0:
		return "it does not answer any more"
	case f.foreign:
		return why + "; it is a private address of another network"
	}
	return why
}

func family(ip netip.Addr) string {
	if ip.Is4() {
		return "IPv4"
	}
	return "IPv6"
}
