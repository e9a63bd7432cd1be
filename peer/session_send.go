// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/udp"
	"github.com/seed-98f0d4c2/runnel/internal/wire"
	"github.com/seed-98f0d4c2/runnel/mobility"
)

const (
	sendBurst = 4  // trains sent before the loop looks at its inbox again
	maxPad    = 64 // bytes that a packet may lack, and be filled up with, to be as long as the others of its train
)

// send sends what the machines want sent, and reports whether it stopped before they were through.
func (s *Session) send(now time.Time) (more bool) {
	if s.keys == nil || s.phase >= phaseLinger {
		return false
	}
	s.reportLosses(now)
	s.pollPunch(now)
	ping := s.sendAddresses(now)
	ping = s.pollPaths(now) || ping
	s.pollClose(now)
	if s.phase >= phaseLinger {
		return false
	}
	s.pollYield(now)
	c := batch{key: s.mob.Current().Key}
	if size := s.mux.MTUProbe(now); size > 0 && s.mob.Budget(c.key) >= size {
		s.sendMTUProbe(now, c.key, size)
	}
	before, pinged := s.mux.InFlight(), ping
	for range sendBurst {
		more = s.sendTrain(now, &c, ping)
		if !more {
			break
		}
		ping = false
		now = time.Now() // what is sent late must not count as sent early
	}
	c.end()
	if !pinged && s.mux.InFlight() > before {
		s.mob.HandleActive(now)
	}
	return more
}

// sendTrain sends as many packets as go into one train, and reports whether it stopped before there was nothing more
// that may be sent.
func (s *Session) sendTrain(now time.Time, c *batch, ping bool) (more bool) {
	c.begin()
	defer s.flush(now, c)
	for n := range udp.MaxSegments {
		limit := s.mux.MaxPacket()
		if s.mob.Budget(c.key)-len(c.b) < limit {
			return false
		}
		if len(c.b)+limit > udp.MaxTrain {
			return true
		}
		if mark := s.mux.ECN(); mark != c.mark {
			s.flush(now, c)
			c.mark = mark
		}
		pkt := s.buildPacket(now, c.room(), limit, ping && n == 0)
		if pkt == nil {
			return false
		}
		if !c.fits(len(pkt)) {
			s.flush(now, c) // which leaves pkt where it is
		}
		if c.add(pkt) {
			return true
		}
	}
	return true
}

// flush sends the train, which is empty then.
func (s *Session) flush(now time.Time, c *batch) {
	if len(c.b) == 0 {
		return
	}
	s.write(c.key, c.b, c.segment, c.mark)
	s.mob.HandleSent(now, c.key, len(c.b))
	c.b = c.b[:0]
}

// buildPacket builds a packet of at most limit bytes for the current path in b, which is empty and has room for it, and
// seals it. It returns nil if there is nothing to send or nothing may be sent: a packet is built as if there were
// something, and dropped if it came out empty.
func (s *Session) buildPacket(now time.Time, b []byte, limit int, ping bool) []byte {
	pn := s.nextPN()
	b = s.appendHeader(b, pn)
	hdr := len(b)
	limit -= s.keys.Overhead()
	driver := false
	if s.proofDue() {
		b = append(b, s.proof...)
		driver = s.proofFrom < 0 // its loss is repaired by the machine's probes, which carry it again
	}
	if ping {
		b = wire.AppendChunk(b, wire.ChunkPing, nil)
		driver = true
	}
	start := len(b)
	b = s.mux.Append(now, pn, b, limit)
	if len(b) == start && !driver {
		return nil
	}
	if s.yield.due && len(b)+wire.ChunkSize(0) <= limit {
		b = wire.AppendChunk(b, wire.ChunkYield, nil)
		s.yield.due, driver = false, true
	}
	if lack := limit - len(b); 0 < lack && lack <= maxPad {
		b = b[:limit]
		clear(b[limit-lack:]) // PADDING is zero
	}
	pkt := s.seal(b, hdr, pn)
	if pkt != nil {
		s.mux.Sent(now, pn, len(pkt), driver)
	}
	return pkt
}

// appendHeader appends the header of packet pn.
func (s *Session) appendHeader(b []byte, pn uint64) []byte {
	return wire.AppendHeader(b, s.remote, s.keys.KeyPhase(), pn, s.mux.LargestAcked())
}

// seal seals a packet in place, and counts it as sent; it returns nil if the keys are exhausted.
func (s *Session) seal(b []byte, hdr int, pn uint64) []byte {
	pkt := s.keys.Seal(b, hdr, pn)
	if pkt == nil { // later: whoever calls may be about to end the session himself
		s.post(func(now time.Time) { s.end(now, &CloseError{Code: CodeExhausted}, false) })
		return nil
	}
	if s.proofFrom < 0 && s.proof != nil {
		s.proofFrom = int64(pn)
	}
	s.counts.packetsSent++
	s.counts.bytesSent += uint64(len(pkt))
	return pkt
}

// sendAlone sends a packet with one chunk by k, which need not be the current path. It is neither paced nor
// counted against the congestion window.
func (s *Session) sendAlone(now time.Time, k mobility.Key, chunk []byte) {
	buf := udp.GetBuffer(udp.BufferSize)
	defer buf.Release()
	pn := s.nextPN()
	b := s.appendHeader(buf.Bytes()[:0], pn)
	hdr := len(b)
	if s.proofDue() && k == s.mob.Current().Key { // other paths are sent as little as possible
		b = append(b, s.proof...)
	}
	b = append(b, chunk...)
	mark := s.mux.ECN()
	if pkt := s.seal(b, hdr, pn); pkt != nil {
		s.mux.Sent(now, pn, len(pkt), false)
		s.write(k, pkt, len(pkt), mark)
		s.mob.HandleSent(now, k, len(pkt))
	}
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

// sendMTUProbe sends a packet of a size that the path may or may not carry.
func (s *Session) sendMTUProbe(now time.Time, k mobility.Key, size int) {
	buf := udp.GetBuffer(size)
	defer buf.Release()
	pn := s.nextPN()
	b := s.appendHeader(buf.Bytes()[:0], pn)
	hdr := len(b)
	b = wire.AppendChunk(b, wire.ChunkPing, nil)
	pad := len(b)
	b = b[:size-s.keys.Overhead()]
	clear(b[pad:]) // PADDING is zero
	mark := s.mux.ECN()
	if pkt := s.seal(b, hdr, pn); pkt != nil {
		s.mux.SentProbe(now, pn, len(pkt))
		s.write(k, pkt, len(pkt), mark)
		s.mob.HandleSent(now, k, len(pkt))
	}
}

// write sends the packets in b, of segment bytes each but for the last, by k. An error is like a lost packet: the
// machines find out.
func (s *Session) write(k mobility.Key, b []byte, segment int, mark wire.ECN) {
	if !s.permits(k) { // such as the last packet to a peer whose network this host has left
		s.counts.writeErrors += uint64((len(b) + segment - 1) / segment)
		return
	}
	sent, err := s.e.writeBatch(k.Via, b, segment, k.Remote, mark)
	if err != nil {
		s.counts.writeErrors += uint64((len(b)+segment-1)/segment - sent)
	}
}
