// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
	"github.com/seed-98f0d4c2/runnel/mobility"
)

// send sends what the machines want sent, and reports whether it stopped before they were through.
func (s *Session) send(now time.Time) (more bool) {
	if s.keys == nil || s.phase >= phaseLinger {
		return false
	}
	ping := s.pollPaths(now)
	s.pollClose(now)
	if s.phase >= phaseLinger {
		return false
	}
	for range sendBurst {
		if !s.sendPacket(now, ping) {
			return false
		}
		ping = false
		now = time.Now() // what is sent late must not count as sent early
	}
	return true
}

// sendPacket builds one packet for the current path and sends it, unless there is nothing to send or nothing may
// be sent. A packet is built as if there were something, and dropped if it came out empty.
func (s *Session) sendPacket(now time.Time, ping bool) bool {
	k := s.mob.Current().Key
	if s.mob.Budget(k) < s.maxPacket() {
		return false
	}
	pn, hdr := s.beginPacket()
	limit := s.maxPacket() - s.keys.Overhead()
	driver := false
	if s.proofDue() {
		s.out = append(s.out, s.proof...)
		driver = s.proofFrom < 0 // its loss is repaired by the machine's probes, which carry it again
	}
	if ping {
		s.out = wire.AppendChunk(s.out, wire.ChunkPing, nil)
		driver = true
	}
	start := len(s.out)
	s.out = s.mux.Append(now, pn, s.out, limit)
	if len(s.out) == start && !driver {
		return false
	}
	s.finishPacket(now, k, pn, hdr, driver)
	return true
}

// beginPacket starts a packet in s.out and returns its number and the length of its header.
func (s *Session) beginPacket() (pn uint64, hdr int) {
	pn = s.keys.NextPN()
	s.out = wire.AppendHeader(s.out[:0], s.remote, s.keys.KeyPhase(), pn, s.mux.LargestAcked())
	return pn, len(s.out)
}

// finishPacket seals the packet in s.out and sends it by k. driver says that it carries an ack-eliciting chunk
// that is not the flow machine's.
func (s *Session) finishPacket(now time.Time, k mobility.Key, pn uint64, hdr int, driver bool) {
	pkt := s.keys.Seal(s.out, hdr, pn)
	if pkt == nil { // later: whoever calls may be about to end the session himself
		s.post(func(now time.Time) { s.end(now, &CloseError{Code: CodeExhausted}, false) })
		return
	}
	if s.proofFrom < 0 && s.proof != nil {
		s.proofFrom = int64(pn)
	}
	s.out = pkt[:0]
	s.write(k, pkt)
	s.mux.Sent(now, pn, len(pkt), driver)
	s.mob.HandleSent(now, k, len(pkt))
	s.counts.packetsSent++
	s.counts.bytesSent += uint64(len(pkt))
}

// sendAlone sends a packet with one chunk by k, which need not be the current path. It is neither paced nor
// counted against the congestion window.
func (s *Session) sendAlone(now time.Time, k mobility.Key, chunk []byte) {
	pn, hdr := s.beginPacket()
	if s.proofDue() && k == s.mob.Current().Key { // other paths are sent as little as possible
		s.out = append(s.out, s.proof...)
	}
	s.out = append(s.out, chunk...)
	s.finishPacket(now, k, pn, hdr, false)
}

// proofDue says whether the peer has yet to acknowledge a packet with our proof of identity. Every packet carries
// it until then, so that each can be used on its own.
func (s *Session) proofDue() bool {
	if s.proof == nil {
		return false
	}
	if s.proofFrom >= 0 && s.mux.LargestAcked() >= s.proofFrom {
		s.proof = nil
		return false
	}
	return true
}

// maxPacket is the largest UDP payload sent, in bytes.
func (s *Session) maxPacket() int { return wire.DefaultDatagram }

// write sends b by k. An error is like a lost packet: the machines find out.
func (s *Session) write(k mobility.Key, b []byte) {
	if err := s.e.write(k.Via, b, k.Remote); err != nil {
		s.counts.writeErrors++
	}
}
