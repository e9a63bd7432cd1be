// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"net/netip"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/seal"
	"github.com/seed-98f0d4c2/runnel/signaling"
)

const (
	offerResend = 2 * time.Second
	maxRestarts = 3 // of our offer, when the peer gives up one that took its place
)

// startOffer begins to establish the session as the side that dials.
func (s *Session) startOffer(now time.Time, dial *directDial) {
	at, err := s.newSetup(seal.Initiator, dial != nil)
	if err != nil {
		s.failSetup(now, err)
		return
	}
	s.adopt(at)
	if err := s.makeOffer(now, at); err != nil {
		s.failSetup(now, err)
		return
	}
	if s.e.gaveUp(s) { // asked once the offer has its time: that of a later dial is later, and it counts
		s.failSetup(now, errCanceled)
		return
	}
	s.e.expect(at.id, s)
	s.mark("offer", now)
	if dial != nil {
		at.dial = dial
		dial.start(s, at, now)
		s.startSeek(now)
		return
	}
	at.resendAt = now.Add(offerResend)
	s.signal(outgoing{at.payload, signaling.KindOffer})
	s.startSeek(now)
}

// adopt makes at the session's setup, in place of the one before.
func (s *Session) adopt(at *setup) {
	s.dropSetup()
	s.dropNearby()
	s.forgetPaths() // the peer may be elsewhere now
	if s.local != 0 {
		s.e.routes.Delete(s.local)
	}
	s.at = at
	s.role, s.local = at.role, at.localSID
}

// resendOffer repeats an unanswered offer: signaling is best effort.
func (s *Session) resendOffer(now time.Time) {
	at := s.at
	at.resendAt = time.Time{}
	if at.haveSID || at.payload == nil {
		return
	}
	if at.dial != nil {
		at.dial.send(s, now)
		return
	}
	at.resendAt = now.Add(offerResend)
	s.signal(outgoing{at.payload, signaling.KindOffer})
}

// handleOffer takes an offer of the peer when this session exists already. Either it is late and is ignored, or it
// takes the place of the setup in hand, or it asks for a session in place of this one.
func (s *Session) handleOffer(now time.Time, m *signaling.Message, direct *directAnswer) {
	switch {
	case s.phase == phaseSetup && s.at == nil, s.phase >= phaseClosing:
		s.e.succeed(s, m, direct)
	case s.at != nil && s.at.id == attemptID(m.Attempt):
		s.resendAnswer(direct)
	case !s.peerSeen.IsZero() && m.Instance == s.instance && !m.Time.After(s.peerSeen):
		// The peer made this offer before the message that this session rests on: it lost a glare.
	case s.phase == phaseSetup && s.role == seal.Initiator && s.e.id.Compare(s.id) < 0:
		// Glare: both have dialled. The offer of the smaller ID stands, and the peer, who applies the same rule,
		// is answering ours.
		s.e.wantedByPeer(s)
		if direct != nil && s.e.seeks(s.addresses) { // found us first: ours goes where it has come from
			s.foundNearby(now, []netip.AddrPort{direct.to})
		}
	case s.phase == phaseSetup:
		s.e.wantedByPeer(s)
		s.startAnswer(now, m, direct)
	default: // the peer has restarted, or has lost the session
		s.e.succeed(s, m, direct)
	}
}

// startAnswer establishes the session as the side that was dialled.
func (s *Session) startAnswer(now time.Time, offer *signaling.Message, direct *directAnswer) {
	at, err := s.newSetup(seal.Responder, direct != nil)
	if err != nil {
		s.failSetup(now, err)
		return
	}
	s.adopt(at)
	if err := s.makeAnswer(now, at, offer); err != nil {
		s.failSetup(now, err)
		return
	}
	s.e.expect(at.id, s)
	s.mark("offer", now)
	s.exchanged(now, offer)
	if direct != nil {
		direct.send(at.payload)
	} else {
		s.signal(outgoing{at.payload, signaling.KindAnswer})
	}
	s.startHandshake(offer)
}

// resendAnswer repeats our answer to an offer that has come again.
func (s *Session) resendAnswer(direct *directAnswer) {
	if s.at == nil || s.at.role != seal.Responder || s.at.payload == nil {
		return
	}
	if direct != nil {
		direct.send(s.at.payload)
		return
	}
	s.signal(outgoing{s.at.payload, signaling.KindAnswer})
}

// handleAnswer takes the peer's answer to our offer.
func (s *Session) handleAnswer(now time.Time, m *signaling.Message) {
	at := s.at
	if s.phase != phaseSetup || at == nil || at.role != seal.Initiator || at.haveSID || at.id != attemptID(m.Attempt) {
		return
	}
	at.resendAt = time.Time{}
	if err := at.takeAnswer(m); err != nil {
		s.failSetup(now, err)
		return
	}
	s.exchanged(now, m)
	s.startHandshake(m)
}

// exchanged notes what offer and answer have in common: where the peer may be.
func (s *Session) exchanged(now time.Time, m *signaling.Message) {
	s.peerSeen, s.instance, s.remote = m.Time, m.Instance, s.at.remoteSID
	s.stage = StagePath
	s.mark("answer", now)
	s.addRemote(now, m.Candidates)
}
