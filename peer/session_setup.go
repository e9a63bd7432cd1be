// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/seal"
	"github.com/seed-98f0d4c2/runnel/mobility"
	"github.com/seed-98f0d4c2/runnel/signaling"
)

const (
	offerResend = 2 * time.Second
	maxRestarts = 3                // of our offer, when the peer gives up one that took its place
	agentLinger = 10 * time.Second // how long ICE goes on looking for a direct path once the session stands
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
		dial.start(s, now)
		return
	}
	at.resendAt = now.Add(offerResend)
	s.signal(outgoing{at.payload, signaling.KindOffer})
}

// adopt makes at the session's setup, in place of the one before.
func (s *Session) adopt(at *setup) {
	s.dropSetup()
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

// handleCandidates takes addresses that the peer has found since its offer or answer.
func (s *Session) handleCandidates(now time.Time, m *signaling.Message) {
	if s.at == nil || s.at.id != attemptID(m.Attempt) {
		return
	}
	s.addRemote(now, m.Candidates)
}

// addRemote takes in where the peer says it may be reached.
func (s *Session) addRemote(now time.Time, list []signaling.Candidate) {
	at := s.at
	for _, kind := range []string{signaling.CandidateRelay, signaling.CandidateSrflx, signaling.CandidateHost} { // most needed first: there is not room for many
		for _, c := range list {
			if c.Kind == kind && s.e.usable(c.Addr) {
				s.paths.permit(s.e, c.Addr.Addr())
			}
		}
	}
	for _, c := range list {
		if len(at.remote) >= signaling.MaxCandidates {
			return
		}
		if !s.e.usable(c.Addr) || slices.Contains(at.remote, c) {
			continue
		}
		at.remote = append(at.remote, c)
		if c.Kind == signaling.CandidateRelay {
			s.paths.relayed = append(s.paths.relayed, c.Addr)
		} else if at.agent != nil {
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
	if !s.e.cfg.Policy.RelayOnly {
		kind := mobility.Direct
		if c.Kind == signaling.CandidateRelay {
			kind = mobility.Relayed
		}
		out = append(out, mobility.Candidate{Key: mobility.Key{Remote: c.Addr}, Kind: kind})
	}
	for _, via := range s.e.relays.vias(c.Addr.Addr()) {
		out = append(out, mobility.Candidate{Key: mobility.Key{Via: via, Remote: c.Addr}, Kind: mobility.Relayed})
	}
	return out
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
	if s.mob != nil && s.phase <= phaseReady { // a new relay is a new way to the peer's relay
		for _, addr := range s.paths.relayed {
			for _, via := range s.e.relays.vias(addr.Addr()) {
				k := mobility.Key{Via: via, Remote: addr}
				s.mob.HandleCandidate(now, mobility.Candidate{Key: k, Kind: mobility.Relayed})
			}
		}
	}
	at := s.at
	if at == nil || at.direct || s.phase > phaseReady {
		return
	}
	if at.haveSID {
		for _, c := range at.remote {
			for _, t := range s.waysTo(c) {
				s.addTarget(now, t, false)
			}
		}
	}
	var fresh []signaling.Candidate
next:
	for _, c := range s.e.localCandidates() {
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

// established is called when the peer has proven its identity.
func (s *Session) established(now time.Time) {
	s.phase, s.stage = phaseReady, StageReady
	s.mark("ready", now)
	s.agentEnd = now.Add(agentLinger)
	s.log.Info("session established", slog.String("path", s.mob.Current().Kind.String()),
		slog.Any("addr", s.mob.Current().Remote))
	s.openEventLog()
	close(s.ready)
	s.e.established(s)
}

// failSetup ends a session that was never established.
func (s *Session) failSetup(now time.Time, err error) {
	if s.phase >= phaseReady {
		return
	}
	code := CodeTimeout
	switch {
	case errors.Is(err, ErrIdentity):
		code = CodeIdentity
	case errors.Is(err, errEndpointClosed):
		code = CodeShutdown
	case errors.Is(err, errCanceled):
		code = CodeCanceled
	}
	if s.at != nil && s.phase == phaseSetup && !s.at.direct && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrRefused) {
		s.sayBye(now, code)
	}
	s.endWith(now, &DialError{ID: s.id, Stage: s.stage, Err: err}, &CloseError{Code: code})
}

// sayBye tells the peer by signaling that this try is over, behind what is still being sent.
func (s *Session) sayBye(now time.Time, code Code) {
	s.outbox = nil
	if s.lastSent == nil {
		return // nothing has been said yet
	}
	m := s.message(s.at, signaling.KindBye, now)
	m.Code = uint64(code)
	payload, err := signaling.Seal(s.e.cfg.Key, s.id, m)
	if err != nil {
		s.log.Error("bye not sealed", slog.Any("err", err))
		return
	}
	s.e.signalAfter(s.lastSent, s.id, payload)
}

// handleBye ends the try when the peer says so by signaling.
func (s *Session) handleBye(now time.Time, m *signaling.Message) {
	if s.at == nil || s.phase > phaseKeyed || s.at.id != attemptID(m.Attempt) {
		return
	}
	if s.phase == phaseKeyed {
		s.end(now, &CloseError{Code: Code(m.Code), Reason: m.Reason, Remote: true}, false)
		return
	}
	if Code(m.Code) == CodeCanceled && !s.at.direct && s.restarts < maxRestarts && s.e.wantedHere(s) {
		s.restarts++
		// The peer has given up a dial that took the place of ours: ours goes on.
		s.stage = StageSignaling
		s.startOffer(now, nil)
		return
	}
	var err error = &CloseError{Code: Code(m.Code), Reason: m.Reason, Remote: true}
	switch Code(m.Code) {
	case CodeRefused:
		err = ErrRefused
	case CodeTimeout: // the peer's time has run out a moment before ours
		err = s.timeoutError()
	}
	s.failSetup(now, err)
}

// endSetup drops what was needed to establish the session.
func (s *Session) endSetup() {
	s.agentEnd = time.Time{}
	if s.at == nil {
		return
	}
	s.dropSetup()
	s.at = nil
}

// dropSetup ends the setup in hand, if any.
func (s *Session) dropSetup() {
	if s.at == nil {
		return
	}
	s.e.unexpect(s.at.id, s)
	if s.at.dial != nil {
		s.e.direct.done(s.at.dial.random)
	}
	s.at.close()
}

func (at *setup) dropEarly() {
	for _, t := range at.early {
		t.buf.Release()
	}
	at.early = nil
}

var errCanceled = errors.New("peer: dial cancelled")
