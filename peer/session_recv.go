// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"crypto/ed25519"
	"errors"
	"log/slog"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/seal"
	"github.com/seed-98f0d4c2/runnel/internal/udp"
	"github.com/seed-98f0d4c2/runnel/internal/wire"
	"github.com/seed-98f0d4c2/runnel/mobility"
)

// handleTrain takes the packets of a train one by one.
func (s *Session) handleTrain(now time.Time, t *train) {
	if !s.permits(mobility.Key{Via: t.via, Remote: t.from}) { // as if nobody were there
		s.counts.unexpected += uint64(t.packets())
		s.traceDrop(now, DropUnexpected, len(t.b), t.from)
		return
	}
	for b := t.b; len(b) > 0; {
		n := min(t.segment, len(b))
		s.handleDatagram(now, t, b[:n])
		b = b[n:]
	}
}

// handleDatagram takes a Runnel packet of a train.
func (s *Session) handleDatagram(now time.Time, t *train, b []byte) {
	if b[0] == wire.FirstHandshake {
		s.handleHandshake(now, b, t.via, t.from)
		return
	}
	if s.keys == nil { // the peer had its keys before us; at most a few packets may wait for ours
		if s.at != nil && s.phase == phaseSetup && len(s.at.early) < maxEarly && len(b) <= udp.BufferSize {
			buf := udp.GetBuffer(len(b))
			early := train{buf: buf, b: buf.Bytes()[:copy(buf.Bytes(), b)], segment: len(b), via: t.via, mark: t.mark, from: t.from}
			s.at.early = append(s.at.early, early)
			return
		}
		s.counts.unexpected++
		s.traceDrop(now, DropUnexpected, len(b), t.from)
		return
	}
	s.handlePacket(now, t, b)
}

// handlePacket takes a protected packet. Nothing in it has an effect before it has authenticated.
func (s *Session) handlePacket(now time.Time, t *train, b []byte) {
	h, err := wire.ParseHeader(b)
	if err != nil || h.SID != s.local {
		s.counts.malformed++
		s.traceDrop(now, DropMalformed, len(b), t.from)
		return
	}
	payload, pn, err := s.keys.Open(b, h)
	if err != nil {
		switch {
		case errors.Is(err, seal.ErrReplay):
			s.counts.replayed++
			s.traceDrop(now, DropReplayed, len(b), t.from)
		case errors.Is(err, seal.ErrExhausted):
			s.end(now, &CloseError{Code: CodeExhausted}, false)
		default:
			s.counts.forged++
			s.traceDrop(now, DropForged, len(b), t.from)
		}
		return
	}
	newest := int64(pn) == s.keys.LargestReceived() && !isProbe(payload)
	s.heard(now)
	s.counts.packetsReceived++
	s.counts.bytesReceived += uint64(len(b))
	if f := s.trace.PacketReceived; f != nil {
		f(PacketReceived{now, pn, len(b)})
	}
	if s.phase >= phaseClosing {
		s.handleWhileClosing(now, payload)
		if s.phase >= phaseLinger {
			return
		}
	}
	if s.phase == phaseGone {
		return
	}
	key := s.pathKey(now, t.via, t.from)
	if s.moves.uprooted {
		s.regrounded(now, key)
	}
	s.mob.HandleReceived(now, key, len(b), newest)
	s.handleHit(now, key)
	s.handlePayload(now, pn, payload, t)
}

// isProbe says whether a packet only tries a path (RFC 9000 §9.1).
func isProbe(payload []byte) bool {
	for len(payload) > 0 {
		t, _, rest, err := wire.NextChunk(payload)
		if err != nil {
			return false
		}
		if t == wire.ChunkPathChallenge || t == wire.ChunkPathResponse || t == wire.ChunkAddresses {
			return true
		}
		payload = rest
	}
	return false
}

// handlePayload takes the chunks of a packet, which came with a train.
func (s *Session) handlePayload(now time.Time, pn uint64, payload []byte, from *train) {
	eliciting := false
	for len(payload) > 0 {
		t, body, rest, err := wire.NextChunk(payload)
		if err != nil {
			s.violation(now, err)
			return
		}
		payload = rest
		if t == wire.ChunkPadding {
			break
		}
		eliciting = eliciting || t.AckEliciting()
		if t == wire.ChunkIdentity {
			if !s.handleIdentity(now, body) {
				return
			}
			continue
		}
		if !s.proven { // whoever this is has yet to say so
			s.counts.unexpected++
			return
		}
		if err := s.handleChunk(now, t, body, mobility.Key{Via: from.via, Remote: from.from}); err != nil {
			s.violation(now, err)
			return
		}
		if s.phase >= phaseLinger {
			return
		}
	}
	if s.proven {
		s.mux.HandlePacketEnd(now, pn, eliciting, from.mark)
		if s.mux.LargestAcked() >= 0 {
			s.keys.HandleAcked(uint64(s.mux.LargestAcked()))
		}
	}
}

func (s *Session) handleChunk(now time.Time, t wire.ChunkType, body []byte, k mobility.Key) error {
	switch t {
	case wire.ChunkCloseAck:
		return nil
	case wire.ChunkPing:
		return wire.ParseInts(body) // must be empty
	case wire.ChunkYield:
		if err := wire.ParseInts(body); err != nil {
			return err
		}
		s.mux.SetYield(now.Add(yieldTime))
	case wire.ChunkAddresses:
		return s.handleAddresses(now, body)
	case wire.ChunkPathChallenge:
		data, err := wire.ParsePathData(body)
		if err != nil {
			return err
		}
		s.mob.HandleChallenge(now, k, data)
	case wire.ChunkPathResponse:
		data, err := wire.ParsePathData(body)
		if err != nil {
			return err
		}
		s.mob.HandleResponse(now, k, data)
	case wire.ChunkPunch:
		return s.handlePunch(now, body)
	case wire.ChunkClose:
		c, err := wire.ParseClose(body)
		if err != nil {
			return err
		}
		s.handleClose(now, c)
	default:
		if t.IsAck() || t.IsFlow() {
			return s.mux.HandleChunk(now, t, body)
		}
		if !t.Elective() {
			return &wire.ProtocolError{Code: wire.CodeProtocol, Reason: "unknown chunk"}
		}
		s.counts.unknownChunks++
	}
	return nil
}

// handleIdentity verifies the peer's proof. It reports whether the session goes on.
func (s *Session) handleIdentity(now time.Time, body []byte) bool {
	if s.proven {
		return true
	}
	id, sig, err := wire.ParseIdentity(body)
	if err != nil {
		s.violation(now, err)
		return false
	}
	if ID(id) != s.id || !seal.VerifyIdentity(ed25519.PublicKey(id[:]), s.binding, s.role.Other(), sig[:]) {
		s.log.Warn("identity not proven", slog.String("claimed", ID(id).Short()))
		s.failSetup(now, ErrIdentity)
		return false
	}
	s.proven = true
	if s.phase == phaseKeyed {
		s.established(now)
	}
	return true
}

// violation ends the session because the peer does not keep to the protocol.
func (s *Session) violation(now time.Time, err error) {
	s.log.Warn("protocol violation", slog.Any("err", err))
	code := CodeProtocol
	if pe := (*wire.ProtocolError)(nil); errors.As(err, &pe) {
		code = Code(pe.Code)
	}
	s.end(now, &CloseError{Code: code, Reason: err.Error()}, true)
}
