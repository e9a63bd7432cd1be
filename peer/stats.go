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

	Stalls     uint64        // times that no path answered
	StalledFor time.Duration // how long nothing was heard in them all, the one that lasts included

	// Flow has what concerns flows and the congestion of the path: window and bytes in flight, pacing rate, queue
	// delay, packet size, ECN, losses, messages.
	Flow flow.Stats

	// Datagrams that went no further, and why.
	Forged     uint64 // did not authenticate
	Replayed   uint64
	Malformed  uint64
	Unexpected uint64 // came at a time when they meant nothing

	UnknownChunks uint64 // of types that may be skipped, and were
	WriteErrors   uint64 // packets that the socket or the relay did not take; they count as lost
	Unsignaled    uint64 // signaling messages given up because too many were waiting
	EventsDropped uint64 // events missing in the event log; see Config.EventLog
}

// EndpointStats is a snapshot of an endpoint.
type EndpointStats struct {
	Sessions     int // all that have not ended, those being established included
	Establishing int // of them, those that peers have asked for and that are not established yet
	Waiting      int // established, and in line for Accept

	Calls        int    // of peers, being handled or waiting for a handler
	CallsRefused uint64 // calls of peers for which there was no room; see Config.MaxQueuedCalls

	SocketsReopened uint64 // times that the system took a socket away and another one took its place

	// What arrived and went no further, and why. Strangers can make all of these grow.
	UnknownClass  uint64 // datagrams of a protocol that is not spoken here
	BadSTUN       uint64 // STUN messages that are not exactly as they should be
	ForeignSTUN   uint64 // STUN and TURN messages that answer no question of ours
	Malformed     uint64 // packets that are not as they should be, or not allowed here
	NoSession     uint64 // packets of sessions that are not known (any more)
	QueueFull     uint64 // packets and messages that came faster than they were handled
	BadSignals    uint64 // signaling messages that are not authentic, not fresh, or belong to nothing
	TooManyOffers uint64 // offers for which there was no room; see Config.MaxHandshakes and MaxSessions
}

// Stats returns a snapshot of the endpoint.
func (e *Endpoint) Stats() EndpointStats {
	e.mu.Lock()
	st := EndpointStats{Sessions: len(e.sessions), Establishing: e.inbound, Waiting: len(e.accepts)}
	e.mu.Unlock()
	st.Calls, st.CallsRefused = e.calls.stats()
	for _, s := range e.socks {
		st.SocketsReopened += s.conn.reopened.Load()
	}
	for r, n := range map[dropReason]*uint64{
		dropUnknownClass: &st.UnknownClass,
		dropBadSTUN:      &st.BadSTUN,
		dropForeignSTUN:  &st.ForeignSTUN,
		dropMalformed:    &st.Malformed,
		dropNoSession:    &st.NoSession,
		dropQueueFull:    &st.QueueFull,
		dropBadSignal:    &st.BadSignals,
		dropTooMany:      &st.TooManyOffers,
	} {
		*n = e.dropped[r].Load()
	}
	return st
}

// counters are owned by a session's loop.
type counters struct {
	packetsSent, packetsReceived uint64
	bytesSent, bytesReceived     uint64
	pathChanges                  uint64
	forged, replayed, malformed  uint64
	unexpected, unknownChunks    uint64
	writeErrors, unsignaled      uint64
	stalls                       uint64
	stalledFor                   time.Duration
	rounds                       int // of the loop
}

// Stats returns a snapshot of the session's counters and estimates. It waits for the session's loop, which takes
// microseconds.
func (s *Session) Stats() Stats {
	st, ok := ask(s, s.snapshot)
	if !ok {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.last
	}
	return st
}

// FlowStats describes the flows of the session that are not over: how old what waits to be sent is, how much is in
// flight, what was delivered, abandoned and why, and repeated. It waits for the session's loop, which takes microseconds
// and about one more for each flow. After the session there are none.
func (s *Session) FlowStats() []flow.Info {
	infos, _ := ask(s, s.mux.Flows)
	return infos
}

func (s *Session) snapshot(now time.Time) Stats {
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
		UnknownChunks:   s.counts.unknownChunks,
		WriteErrors:     s.counts.writeErrors,
		Unsignaled:      s.counts.unsignaled,
		EventsDropped:   s.record.Dropped(),
		Stalls:          s.counts.stalls,
		StalledFor:      s.counts.stalledFor,
	}
	if !s.stalled.IsZero() {
		st.StalledFor += now.Sub(s.stalled)
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
	if f := s.trace.StageReached; f != nil {
		f(StageReached{now, name})
	}
}

func (s *Session) logEnd(err error) {
	s.log.Info("session ended", slog.Any("err", err), slog.String("stage", string(s.stage)))
}
