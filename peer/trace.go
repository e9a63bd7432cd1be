// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"net/netip"
	"time"

	"github.com/seed-98f0d4c2/runnel/flow"
)

// A SessionInfo says which session a trace or an event log is about.
type SessionInfo struct {
	Local, Peer ID
	Dialled     bool // this endpoint began it
	Start       time.Time
}

// A Trace is a set of hooks that a session calls as things happen; see [Config].Trace. They are the only callbacks of
// this package. Any of them may be nil, which costs a comparison.
//
// Hooks are called on the session's loop, one at a time, in the middle of its work: they must not block, or the session
// stands still, and must not call methods of the session, its flows or its endpoint that wait for the loop, such as
// [Session.Stats] and [Session.Close]. Nothing is called after Ended. Events are values that a hook may keep.
type Trace struct {
	// Flow has the hooks for packets sent, acknowledgements, losses, flows and messages.
	Flow flow.Trace

	// StageReached is called as establishing the session makes progress, with the marks of [Stats].Timeline.
	StageReached func(StageReached)

	// PacketReceived is called for every packet that has authenticated, PacketDropped for every datagram of the
	// session that has not, or has come at the wrong time.
	PacketReceived func(PacketReceived)
	PacketDropped  func(PacketDropped)

	// PathSwitched is called when packets travel another way from now on, PathsDead when no path answers, PathsResumed
	// when one does again.
	PathSwitched func(PathSwitched)
	PathsDead    func(PathsDead)
	PathsResumed func(PathsResumed)

	// Ended is called when the session is over, or was never established, last of all.
	Ended func(Ended)
}

// A StageReached says that establishing a session has reached a point.
type StageReached struct {
	Time time.Time
	Name string // as in [Mark]
}

// A PacketReceived says that a packet has arrived.
type PacketReceived struct {
	Time   time.Time
	Number uint64
	Size   int // of the UDP payload in bytes
}

// A DropReason says why a datagram of a session went no further.
type DropReason string

// The reasons. Each has a counter in [Stats].
const (
	DropForged     DropReason = "forged"     // it did not authenticate
	DropReplayed   DropReason = "replayed"   // or came too late to tell
	DropMalformed  DropReason = "malformed"  // it is no packet
	DropUnexpected DropReason = "unexpected" // it came at a time when it meant nothing
)

// A PacketDropped says that a datagram went no further. Anybody can cause it.
type PacketDropped struct {
	Time   time.Time
	Size   int            // of the UDP payload in bytes
	From   netip.AddrPort // as the datagram says
	Reason DropReason
}

// A PathSwitched says that packets travel another way.
type PathSwitched struct {
	Time     time.Time
	From, To Path
	Why      string // one sentence for humans
}

// A PathsDead says that no path answers.
type PathsDead struct {
	Time time.Time
	Path Path // the one in use
	Why  string
}

// A PathsResumed says that a path answers again after PathsDead.
type PathsResumed struct {
	Time time.Time
	Path Path          // in use from now on
	Gap  time.Duration // how long nothing was heard
}

// An Ended says that a session is over.
type Ended struct {
	Time  time.Time
	Err   error // what [Session.Err] returns
	Stats Stats
}

// noTrace has no hooks.
var noTrace Trace

// tee returns a hook that calls both.
func tee[E any](a, b func(E)) func(E) {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return func(e E) { a(e); b(e) }
}

// teeTrace returns a trace that calls the hooks of both; either may be nil.
func teeTrace(a, b *Trace) Trace {
	if a == nil {
		a = &noTrace
	}
	if b == nil {
		b = &noTrace
	}
	return Trace{
		Flow: flow.Trace{
			PacketSent:       tee(a.Flow.PacketSent, b.Flow.PacketSent),
			PacketsAcked:     tee(a.Flow.PacketsAcked, b.Flow.PacketsAcked),
			PacketLost:       tee(a.Flow.PacketLost, b.Flow.PacketLost),
			SpuriousLoss:     tee(a.Flow.SpuriousLoss, b.Flow.SpuriousLoss),
			MetricsUpdated:   tee(a.Flow.MetricsUpdated, b.Flow.MetricsUpdated),
			FlowOpened:       tee(a.Flow.FlowOpened, b.Flow.FlowOpened),
			FlowClosed:       tee(a.Flow.FlowClosed, b.Flow.FlowClosed),
			MessageSent:      tee(a.Flow.MessageSent, b.Flow.MessageSent),
			MessageDelivered: tee(a.Flow.MessageDelivered, b.Flow.MessageDelivered),
			MessageAbandoned: tee(a.Flow.MessageAbandoned, b.Flow.MessageAbandoned),
			MessageReceived:  tee(a.Flow.MessageReceived, b.Flow.MessageReceived),
			Blocked:          tee(a.Flow.Blocked, b.Flow.Blocked),
		},
		StageReached:   tee(a.StageReached, b.StageReached),
		PacketReceived: tee(a.PacketReceived, b.PacketReceived),
		PacketDropped:  tee(a.PacketDropped, b.PacketDropped),
		PathSwitched:   tee(a.PathSwitched, b.PathSwitched),
		PathsDead:      tee(a.PathsDead, b.PathsDead),
		PathsResumed:   tee(a.PathsResumed, b.PathsResumed),
		Ended:          tee(a.Ended, b.Ended),
	}
}

// startTrace finds out whether anybody wants to hear of the session. The loop calls it before anything else.
func (s *Session) startTrace() {
	cfg := s.e.cfg
	if cfg.Trace == nil && s.e.events == nil {
		return
	}
	var user, logged *Trace
	if cfg.Trace != nil {
		user = cfg.Trace(s.info())
	}
	if s.e.events != nil {
		s.record = s.e.events.NewTrace(s.born)
		logged = s.logTrace()
	}
	*s.trace = teeTrace(user, logged)
	for _, m := range s.timeline { // before there was a loop
		if f := s.trace.StageReached; f != nil {
			f(StageReached{s.born.Add(m.At), m.Name})
		}
	}
}

// endTrace is called when the session is over.
func (s *Session) endTrace(now time.Time, err error) {
	if f := s.trace.Ended; f != nil {
		f(Ended{now, err, s.snapshot(now)})
	}
	if s.trace != &noTrace {
		*s.trace = Trace{}
	}
	s.closeEventLog()
}

func (s *Session) info() SessionInfo {
	return SessionInfo{Local: s.e.id, Peer: s.id, Dialled: s.dialled, Start: s.born}
}

func (s *Session) traceDrop(now time.Time, why DropReason, size int, from netip.AddrPort) {
	if f := s.trace.PacketDropped; f != nil {
		f(PacketDropped{now, size, from, why})
	}
}
