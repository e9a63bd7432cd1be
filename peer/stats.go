// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"log/slog"
	"time"

	"github.com/seed-98f0d4c2/runnel/flow"
)

// A Mark is when a session reached a point of its establishment.
type Mark struct {
	Name string        // start, offer, delivered, answer, check, handshake, keys, ready
	At   time.Duration // since the start
}

// Stats is a snapshot of a session.
type Stats struct {
	Stage    Stage
	Path     Path
	Paths    []Path // every path known, the current one included
	Timeline []Mark // how establishing the session went

	RTT, MinRTT     time.Duration // of the session's packets; zero if unmeasured
	PacketsSent     uint64
	PacketsReceived uint64
	BytesSent       uint64 // UDP payload
	BytesReceived   uint64
	PathChanges     uint64
	KeyUpdates      uint64 // of our sending keys
	Flow            flow.Stats

	// Datagrams that went no further, and why.
	Forged     uint64 // did not authenticate
	Replayed   uint64
	Malformed  uint64
	Unexpected uint64 // came at a time when they meant nothing
}

// counters are owned by a session's loop.
type counters struct {
	packetsSent, packetsReceived uint64
	bytesSent, bytesReceived     uint64
	pathChanges                  uint64
	forged, replayed, malformed  uint64
	unexpected, unknownChunks    uint64
	writeErrors, unsignaled      uint64
}

// Stats returns a snapshot of the session's counters and estimates. It waits for the session's loop, which takes
// microseconds.
func (s *Session) Stats() Stats {
	c := make(chan Stats, 1)
	s.post(func(now time.Time) { c <- s.snapshot(now) })
	select {
	case st := <-c:
		return st
	case <-s.gone:
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.last
	}
}

func (s *Session) snapshot(time.Time) Stats {
	st := Stats{
		Stage:           s.stage,
		Timeline:        append([]Mark(nil), s.timeline...),
		PacketsSent:     s.counts.packetsSent,
		PacketsReceived: s.counts.packetsReceived,
		BytesSent:       s.counts.bytesSent,
		BytesReceived:   s.counts.bytesReceived,
		PathChanges:     s.counts.pathChanges,
		Flow:            s.mux.Stats(),
		Forged:          s.counts.forged,
		Replayed:        s.counts.replayed,
		Malformed:       s.counts.malformed,
		Unexpected:      s.counts.unexpected,
	}
	if smoothed, least := s.mux.RTT(); least > 0 { // else the first is a guess
		st.RTT, st.MinRTT = smoothed, least
	}
	if s.keys != nil {
		st.KeyUpdates = s.keys.Stats().SendUpdates
	}
	if s.mob != nil {
		st.Path = s.pathOf(s.mob.Current())
		for _, p := range s.mob.Paths() {
			st.Paths = append(st.Paths, s.pathOf(p))
		}
	}
	return st
}

// mark notes when establishing the session reached a point.
func (s *Session) mark(name string, now time.Time) {
	if len(s.timeline) < 16 {
		s.timeline = append(s.timeline, Mark{name, now.Sub(s.born)})
	}
}

func (s *Session) logEnd(err error) {
	s.log.Info("session ended", slog.Any("err", err), slog.String("stage", string(s.stage)))
}
