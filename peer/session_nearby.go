// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"net/netip"
	"slices"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/mdns"
	"github.com/seed-98f0d4c2/runnel/internal/seal"
	"github.com/seed-98f0d4c2/runnel/mobility"
	"github.com/seed-98f0d4c2/runnel/signaling"
)

// lanTimes is when a peer is asked for on the local network, counted from the first time. Later it is asked for every
// lanEvery. RFC 6762 §5.2 wants a second before the first repetition; a dial does not have it, and asks no more than a few
// times.
var lanTimes = []time.Duration{0, 250 * time.Millisecond, time.Second, 3 * time.Second}

const (
	lanEvery = 5 * time.Second
	lanGrace = 1500 * time.Millisecond // for which a peer may still be found whom the rendezvous does not know
)

// A seek is a session's search for its peer on the local network: while it is being established, and while nothing
// reaches the peer. The session's loop owns it.
type seek struct {
	at    time.Time // of the next query; zero when none is to be sent
	tries int
	asked []mdns.Nonce
}

// startSeek begins to look for the peer on the local network.
func (s *Session) startSeek(now time.Time) {
	if !s.e.seeks(s.addresses) {
		return
	}
	s.seek.tries = 0
	s.seek.at = now
	s.handleSeekTimeout(now)
}

// endSeek forgets the queries that are out, and the try that came of them.
func (s *Session) endSeek() {
	for _, n := range s.seek.asked {
		s.e.lan.forget(n)
	}
	s.seek = seek{}
	s.dropNearby()
}

// seeking says whether the peer is still to be looked for.
func (s *Session) seeking() bool {
	return s.phase == phaseSetup && s.at != nil && s.at.role == seal.Initiator || s.phase == phaseReady && s.mob.Outage()
}

// seekTimeout returns when handleSeekTimeout is due.
func (s *Session) seekTimeout() time.Time {
	if s.nearby != nil {
		return earliest(s.seek.at, s.nearby.resendAt)
	}
	return s.seek.at
}

func (s *Session) handleSeekTimeout(now time.Time) {
	due := func(t time.Time) bool { return !t.IsZero() && !now.Before(t) }
	if due(s.seek.at) {
		if !s.seeking() {
			s.endSeek()
			return
		}
		// The first answer may come to us alone. Another program on this host may have the port and take it, so that later
		// ones are for all.
		s.seek.asked = append(s.seek.asked, s.e.lan.ask(now, s, s.seek.tries == 0)...)
		for len(s.seek.asked) > maxAsked {
			s.e.lan.forget(s.seek.asked[0])
			s.seek.asked = s.seek.asked[1:]
		}
		wait := lanEvery
		if s.seek.tries++; s.seek.tries < len(lanTimes) {
			wait = lanTimes[s.seek.tries] - lanTimes[s.seek.tries-1]
		}
		s.seek.at = now.Add(wait)
	}
	if at := s.nearby; at != nil && due(at.resendAt) {
		if s.phase != phaseSetup {
			s.dropNearby()
			return
		}
		at.dial.send(s, now)
	}
}

// foundNearby takes addresses at which somebody on the local network says that the peer listens.
func (s *Session) foundNearby(now time.Time, addrs []netip.AddrPort) {
	addrs = s.e.dialableAddrs(s.addresses, addrs)
	switch {
	case len(addrs) == 0:
	case s.phase == phaseReady && s.mob.Outage():
		for _, a := range addrs {
			s.mob.HandleCandidate(now, mobility.Candidate{Key: mobility.Key{Remote: a}, Kind: mobility.Direct})
		}
	case s.phase != phaseSetup || s.at == nil || s.at.role != seal.Initiator:
	case s.at.dial != nil:
		s.at.dial.add(s, now, addrs)
	case s.nearby != nil:
		s.nearby.dial.add(s, now, addrs)
	case !s.at.haveSID:
		s.dialNearby(now, addrs)
	default: // they are being introduced by the rendezvous
		var list []signaling.Candidate
		for _, a := range addrs {
			list = append(list, signaling.Candidate{Kind: signaling.CandidateHost, Addr: a})
		}
		s.addRemote(now, list)
	}
}

// dialNearby makes a second offer, which goes to the addresses found while the first waits for the rendezvous. It is later
// than the first, so the peer, who always takes the latest, takes it whichever comes first; and this side takes it when it
// is answered.
func (s *Session) dialNearby(now time.Time, addrs []netip.AddrPort) {
	at, err := s.newSetup(seal.Initiator, true)
	if err == nil {
		err = s.makeOffer(now, at)
	}
	if err != nil {
		s.failSetup(now, err)
		return
	}
	s.nearby = at
	at.dial = newDirectDial(Target{ID: s.id, Addrs: addrs})
	at.dial.start(s, at, now)
}

// dropNearby gives up the second offer.
func (s *Session) dropNearby() {
	if at := s.nearby; at != nil {
		s.nearby = nil
		s.e.direct.done(at.dial.random)
		s.e.routes.Delete(at.localSID)
		at.close()
	}
}

// takeNearby makes the second offer the session's.
func (s *Session) takeNearby() {
	at := s.nearby
	s.nearby = nil // before adopt would drop it
	s.adopt(at)
	s.e.expect(at.id, s)
}

// dialOf returns the session's dial that goes by the given random bytes, or nil.
func (s *Session) dialOf(random [randomLen]byte) *directDial {
	for _, at := range []*setup{s.at, s.nearby} {
		if at != nil && at.dial != nil && at.dial.random == random {
			return at.dial
		}
	}
	return nil
}

// notFoundYet says whether a peer that the rendezvous does not know may still be found on the local network.
func (s *Session) notFoundYet(now time.Time) bool {
	return s.e.lan != nil && (now.Sub(s.born) < lanGrace || s.nearby != nil && len(s.nearby.dial.opens) > 0)
}

// add dials further addresses.
func (d *directDial) add(s *Session, now time.Time, addrs []netip.AddrPort) {
	fresh := false
	for _, a := range addrs {
		if len(d.addrs) < maxAddrs && !slices.Contains(d.addrs, a) {
			d.addrs = append(d.addrs, a)
			fresh = true
		}
	}
	if fresh && !d.at.haveSID {
		d.wait = directResend
		d.send(s, now)
	}
}
