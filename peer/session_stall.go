// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"log/slog"
	"time"

	"github.com/seed-98f0d4c2/runnel/mobility"
)

// resumeAfter is how long nothing must have been heard for a packet to be a sign that the path works again.
const resumeAfter = 250 * time.Millisecond

// stall is called when no path answers. The session waits, for [Config.Linger], and the endpoint looks out for the
// return of the network meanwhile.
func (s *Session) stall(now time.Time, a mobility.Action) {
	s.log.Info("no path answers", slog.Any("addr", a.Path.Remote), slog.String("why", a.Why))
	if f := s.trace.PathsDead; f != nil {
		f(PathsDead{now, s.pathOf(a.Path), a.Why})
	}
	if !s.stalled.IsZero() {
		return
	}
	s.stalled, s.missedAt = s.lastHeard, now
	s.counts.stalls++
	s.e.outage(1)
	s.events.put(Stalled{Since: s.stalled, Why: a.Why})
	if s.phase == phaseReady {
		s.announce(now, true)
	}
}

// resume is called when a path answers, again or for the first time.
func (s *Session) resume(now time.Time) {
	if s.stalled.IsZero() {
		return
	}
	path, gap := s.pathOf(s.mob.Current()), now.Sub(s.stalled)
	s.endStall(now)
	s.log.Info("session resumed", slog.String("path", path.Kind.String()), slog.Any("addr", path.Remote), slog.Duration("gap", gap))
	s.events.put(Resumed{Gap: gap, Path: path})
	if f := s.trace.PathsResumed; f != nil {
		f(PathsResumed{now, path, gap})
	}
}

// endStall ends what stall began, also when the session ends.
func (s *Session) endStall(now time.Time) {
	if s.stalled.IsZero() {
		return
	}
	s.counts.stalledFor += now.Sub(s.stalled)
	s.stalled = time.Time{}
	s.e.outage(-1)
}

// heard takes note of an authentic packet. After silence it says that the path carries packets again: what waits for an
// acknowledgement need not wait for its timer, which has grown meanwhile.
func (s *Session) heard(now time.Time) {
	if now.Sub(s.lastHeard) >= resumeAfter {
		s.mux.Resume(now)
	}
	s.lastHeard = now
}

// reportLosses tells the path machine how the current path does.
func (s *Session) reportLosses(now time.Time) {
	acked, lost := s.mux.Fates()
	if acked != s.acked || lost != s.lost {
		s.mob.HandleLosses(now, acked-s.acked, lost-s.lost)
		s.acked, s.lost = acked, lost
	}
}
