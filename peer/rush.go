// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import "github.com/seed-98f0d4c2/runnel/internal/udp"

// Waking a goroutine on another processor takes longer than sending a packet. So when the session's loop sleeps and
// there is only a little to do, whoever brings the work does it: a small message to a peer that owes no acknowledgement
// is sent by Send itself, and a single packet is handled by the goroutine that read it. When there is more to do the
// work is better done beside that of others, and in larger pieces; then it is left to the loop.

// What a session is quiet enough for, in Session.quiet.
const (
	quietSend    = 1 << iota // nothing is in flight: what is sent next need not wait for more to go along with it
	quietReceive             // nothing waits to be sent: who handles a packet will not have to send much
)

// setQuiet says how quiet it is after a round. more says that the round has not done everything.
func (s *Session) setQuiet(more bool) {
	var q uint32
	if !more && s.phase == phaseReady && !s.watched {
		if !s.mux.Busy() {
			q |= quietReceive
			if s.mux.InFlight() == 0 {
				q |= quietSend
			}
		}
	}
	if q != s.quiet.Load() {
		s.quiet.Store(q)
	}
}

// hurry is called by Send when there is something new to send.
func (s *Session) hurry() {
	if s.quiet.Load()&quietSend == 0 || !s.rush() {
		s.notify()
		return
	}
	for _, sock := range s.e.socks {
		sock.conn.Expect()
	}
}

// received is called when a train has been put into the inbox, by whoever has read it.
func (s *Session) received(size int) {
	if size > udp.BufferSize || s.quiet.Load()&quietReceive == 0 || !s.rush() {
		s.notify()
	}
}

// hasPosted says whether others have posted work.
func (s *Session) hasPosted() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.posted) > 0
}

// rush does a round unless somebody else is at it, and reports whether it did.
func (s *Session) rush() bool {
	if !s.own.TryLock() {
		return false
	}
	if s.hasPosted() { // it may take its time, and we may be reading for all sessions
		s.own.Unlock()
		return false
	}
	gone := s.phase == phaseGone
	more := !gone && s.round()
	gone = s.phase == phaseGone
	s.own.Unlock()
	if more || gone {
		s.notify()
	}
	return true
}
