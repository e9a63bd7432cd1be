// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"log/slog"
	"net/netip"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/pionx/dtlsx"
	"github.com/seed-98f0d4c2/runnel/internal/seal"
	"github.com/seed-98f0d4c2/runnel/internal/udp"
	"github.com/seed-98f0d4c2/runnel/internal/wire"
	"github.com/seed-98f0d4c2/runnel/mobility"
	"github.com/seed-98f0d4c2/runnel/signaling"
)

// startHandshake starts ICE and DTLS side by side. The side that dialled is the DTLS client; its first flight goes
// out at once on every way that may lead to the peer, so that it needs no round trip after the path is open.
func (s *Session) startHandshake(m *signaling.Message) {
	at := s.at
	if at.agent != nil && m.Ufrag != "" {
		if err := at.agent.Start(m.Ufrag, m.Pwd); err != nil {
			s.log.Debug("ice not started", slog.Any("err", err))
		}
	}
	hs := dtlsx.Start(s.e.ctx, &dtlsx.Config{
		Identity:          at.identity,
		Client:            at.role == seal.Initiator,
		RemoteFingerprint: m.Fingerprint,
		Log:               s.log,
		Write: func(b []byte) {
			b = append([]byte(nil), b...)
			s.post(func(time.Time) { s.sendHandshake(at, b) })
		},
	})
	at.hs = hs
	s.e.wg.Go(func() {
		<-hs.Done()
		s.post(func(now time.Time) { s.handshakeDone(now, at) })
	})
}

// sendHandshake sends a DTLS datagram: on the way the peer's came by, and on all ways as long as there is none or
// it seems to have gone dead.
func (s *Session) sendHandshake(at *setup, b []byte) {
	if s.at != at || !at.haveSID {
		return
	}
	if len(at.flight) < maxFlight {
		at.flight = append(at.flight, b)
	}
	if at.role == seal.Responder { // answers where packets come from, and no more than three times as much
		if at.havePath && at.out+len(b) <= 3*at.in {
			at.out += len(b)
			s.writeHandshake(at.path.Key, b)
		}
		return
	}
	if at.havePath && at.sends < maxSends {
		at.sends++
		s.writeHandshake(at.path.Key, b)
		return
	}
	// A way that ICE has found open gets every repetition. One that the peer has merely named, or has fallen silent,
	// gets the first, the second, the fourth, the eighth …: the peer must not be able to point us at somebody.
	at.tries++
	all := at.tries&(at.tries-1) == 0
	for _, t := range at.targets {
		if all || t.open {
			s.writeHandshake(t.Key, b)
		}
	}
}

func (s *Session) writeHandshake(k mobility.Key, b []byte) {
	pad := 0
	if s.at.role == seal.Initiator { // so that the answer may be as long as it is
		pad = handshakePad
	}
	buf := udp.GetBuffer(max(wire.HandshakeOverhead+len(b), pad))
	defer buf.Release()
	pkt := wire.AppendHandshake(buf.Bytes()[:0], s.at.remoteSID, b, pad)
	s.write(k, pkt, len(pkt), wire.NotECT)
}

// handleHandshake takes a handshake packet of the peer.
func (s *Session) handleHandshake(now time.Time, pkt []byte, via int32, from netip.AddrPort) {
	sid, b, err := wire.ParseHandshake(pkt)
	if err != nil || s.at == nil || sid != s.at.localSID || s.at.hs == nil {
		s.counts.unexpected++
		s.traceDrop(now, DropUnexpected, len(pkt), from)
		return
	}
	at := s.at
	if s.mob == nil {
		c := mobility.Candidate{Key: mobility.Key{Via: via, Remote: from}, Kind: s.kindOf(via, from)}
		if !at.havePath {
			s.stage = StageHandshake
			s.mark("handshake", now)
		}
		if !at.havePath || at.path.Kind == mobility.Relayed || c.Kind == mobility.Direct {
			if at.path.Key != c.Key {
				at.in, at.out = 0, 0
				s.addTarget(now, c, false)
			}
			at.path, at.havePath = c, true
			at.in += len(pkt)
		}
		at.flight, at.sends = at.flight[:0], 0
	}
	at.hs.Deliver(b)
}

// handshakeDone derives the keys, or gives up.
func (s *Session) handshakeDone(now time.Time, at *setup) {
	if s.at != at || s.phase != phaseSetup {
		return
	}
	if err := at.hs.Err(); err != nil {
		s.failSetup(now, err)
		return
	}
	exporter := at.hs.Exporter()
	secret := seal.DeriveSecret(exporter[:], at.kemSecret, at.transcript())
	keys, err := seal.NewSession(secret, at.role, at.suite, &seal.Config{RekeyAfter: s.e.cfg.rekeyAfter})
	if err != nil {
		s.failSetup(now, err)
		return
	}
	s.binding = secret.Binding()
	sig, err := seal.SignIdentity(s.e.cfg.proofKey, s.binding, at.role)
	if err != nil {
		s.failSetup(now, err)
		return
	}
	s.proof = wire.AppendIdentity(nil, s.e.id, [wire.SignatureLen]byte(sig))
	s.keys = keys
	s.phase, s.stage = phaseKeyed, StageIdentity
	s.mark("keys", now)
	s.startPaths(now, at)
	early := at.early
	at.early = nil
	for _, t := range early {
		s.handleTrain(now, &t)
		t.buf.Release()
	}
}
