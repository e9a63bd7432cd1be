// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-98f0d4c2/runnel/flow"
	"github.com/seed-98f0d4c2/runnel/internal/eventlog"
	"github.com/seed-98f0d4c2/runnel/internal/seal"
	"github.com/seed-98f0d4c2/runnel/internal/udp"
	"github.com/seed-98f0d4c2/runnel/internal/wire"
	"github.com/seed-98f0d4c2/runnel/mobility"
	"github.com/seed-98f0d4c2/runnel/signaling"
)

// A phase is where a session is in its life. It only moves forward.
type phase int

const (
	phaseSetup   phase = iota // no keys yet
	phaseKeyed                // packets are protected; the peer has yet to prove its identity
	phaseReady                // established
	phaseClosing              // CLOSE sent after everything was delivered; CLOSE_ACK awaited
	phaseLinger               // over; late packets are still told so
	phaseGone
)

const (
	maxTold    = 256       // posted work beyond which more from outside is dropped
	receiveMax = 128 << 10 // bytes handled before the loop sends what they ask for
)

// A Session is a secure association with one peer, named by the peer's key and not by an address, which it outlives.
// Its methods may be called from multiple goroutines.
//
// Its loop, a goroutine of its own, owns all state but what is said to be guarded otherwise; everyone else posts work to
// it. Somebody who has a little to do for it may do that himself while the loop sleeps (rush.go); so the loop is whoever
// holds own.
type Session struct {
	e   *Endpoint
	id  ID
	log *slog.Logger
	mux *flow.Mux // its handles may be used from any goroutine, the machine only by the loop

	trace   *Trace // hooks, set by the loop when it starts; never nil
	dialled bool   // immutable: this endpoint began it
	watched bool   // immutable: hooks of the application must run on the loop's own goroutine

	inbox inbox
	wake  chan struct{} // capacity 1
	own   sync.Mutex    // held by whoever is at work on the session: its loop, or somebody in a hurry
	quiet atomic.Uint32 // what may be done in a hurry, see rush.go
	born  time.Time     // immutable

	ready chan struct{} // closed when established
	done  chan struct{} // closed when over; err is set before
	gone  chan struct{} // closed when the loop has ended

	// Guarded by e.mu.
	dialers   int  // calls of Dial that wait
	held      bool // returned by DialEarly
	inbound   bool // counted in e.inbound
	abandoned bool // nobody waits for it any more

	mu        sync.Mutex
	posted    []func(now time.Time)
	finished  bool  // the loop has ended
	err       error // written before done is closed
	delivered bool  // likewise: everything had been when the close began
	last      Stats // the final snapshot, once gone
	events    events
	arrived   arrived
	calls     sessionCalls

	// Owned by the loop.
	phase     phase
	at        *setup // nil once the setup has served its purpose
	deadline  time.Time
	stage     Stage
	timeline  []Mark
	local     wire.SessionID
	remote    wire.SessionID
	role      seal.Role
	binding   [32]byte // what proofs of identity sign; the secret it comes from is not kept
	keys      *seal.Session
	skips     skipper
	proof     []byte // our IDENTITY chunk, sent in every packet until one is acknowledged
	proven    bool   // the peer's identity is
	proofFrom int64  // first packet number that carried proof; -1 before
	mob       *mobility.Machine
	paths     remotePaths
	peerSeen  time.Time // when the message of the peer was made that this session rests on
	instance  [16]byte  // the peer's
	lastHeard time.Time
	taken     []train // from the inbox
	takenNext int     // the first of them not handled yet
	outbox    []outgoing
	sending   bool
	restarts  int
	lastSent  chan struct{} // closed when the latest message has been sent; nil if there was none
	agentEnd  time.Time     // when the ICE agent has had its time
	closeAt   closer
	yield     yielder
	alarm     alarm
	counts    counters
	record    *eventlog.Trace // nil: events are not logged
}

// newSession makes a session with peer id, whose loop is started by the caller through start.
func (e *Endpoint) newSession(id ID, dialled bool) *Session {
	now := time.Now()
	s := &Session{
		e:         e,
		id:        id,
		dialled:   dialled,
		watched:   e.cfg.Trace != nil,
		alarm:     newAlarm(),
		trace:     &noTrace,
		log:       e.log.With(slog.String("peer", id.Short())),
		wake:      make(chan struct{}, 1),
		ready:     make(chan struct{}),
		done:      make(chan struct{}),
		gone:      make(chan struct{}),
		deadline:  now.Add(e.cfg.HandshakeTimeout),
		stage:     StageSignaling,
		proofFrom: -1,
		born:      now,
		lastHeard: now,
	}
	s.events.init()
	var hooks *flow.Trace
	if e.cfg.Trace != nil || e.events != nil {
		s.trace = new(Trace)
		hooks = &s.trace.Flow
	}
	s.mark("start", now)
	s.mux = flow.NewMux(&flow.Config{
		Trace:         hooks,
		Wake:          s.notify,
		Hurry:         s.hurry,
		MaxMessage:    e.cfg.MaxMessage,
		RecvWindow:    e.cfg.ReceiveWindow,
		SessionWindow: e.cfg.SessionWindow,
		Controller:    e.cfg.Controller,
		MaxRecvWindow: e.cfg.MaxReceiveWindow,
	})
	return s
}

// Peer returns the identity of the other end. Once the session is established it is proven.
func (s *Session) Peer() ID { return s.id }

// Done is closed when the session is over; [Session.Err] then says why.
func (s *Session) Done() <-chan struct{} { return s.done }

// Err returns nil while the session lives, and why it ended afterwards: a [*CloseError], or a [*DialError] if it
// was never established.
func (s *Session) Err() error {
	select {
	case <-s.done:
		return s.err
	default:
		return nil
	}
}

// Ready waits until the session is established, that is, until the peer has proven its identity. It returns why
// the session ended if it did, or ctx's error.
func (s *Session) Ready(ctx context.Context) error {
	select {
	case <-s.done:
		return s.err
	default:
	}
	select {
	case <-s.ready:
		return nil
	case <-s.done:
		return s.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// isReady says whether the session is established and not over.
func (s *Session) isReady() bool {
	select {
	case <-s.ready:
		return s.Err() == nil
	default:
		return false
	}
}

// post hands work to the loop. It reports false if the loop has ended and will not see it.
func (s *Session) post(f func(now time.Time)) bool {
	s.mu.Lock()
	finished := s.finished
	if !finished {
		s.posted = append(s.posted, f)
	}
	s.mu.Unlock()
	s.notify()
	return !finished
}

// tell is post for work that others can cause to be posted, of which there may be too much.
func (s *Session) tell(f func(now time.Time)) bool {
	s.mu.Lock()
	full := len(s.posted) >= maxTold
	s.mu.Unlock()
	if full {
		s.e.drop(dropQueueFull)
		return true
	}
	return s.post(f)
}

// notify makes the loop look for work.
func (s *Session) notify() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// start runs the loop.
func (s *Session) start() { s.e.wg.Go(s.loop) }

// loop works on the session until it is gone. After every event it sends whatever the machines want sent, and sleeps
// until the next event or the earliest of their timeouts.
func (s *Session) loop() {
	defer s.finish()
	s.own.Lock()
	s.startTrace()
	for {
		more := s.round()
		alarm := s.alarm.timer.C
		gone := s.phase == phaseGone
		s.own.Unlock()
		if gone {
			s.alarm.stop()
			return
		}
		if !more {
			select {
			case <-s.wake:
			case <-alarm:
			}
		}
		s.own.Lock()
	}
}

// round does all there is to do for now, and reports whether it stopped before it was through. Whoever calls it holds
// s.own.
func (s *Session) round() (more bool) {
	s.runPosted()
	now, more := s.receive()
	s.handleTimeouts(now)
	more = s.send(now) || more
	if s.phase == phaseGone {
		s.quiet.Store(0)
		return false
	}
	s.alarm.at(now, s.nextTimeout())
	s.setQuiet(more)
	return more
}

func (s *Session) runPosted() {
	s.mu.Lock()
	work := s.posted
	s.posted = nil
	s.mu.Unlock()
	if len(work) == 0 {
		return
	}
	now := time.Now()
	for _, f := range work {
		f(now)
	}
}

// receive handles what has arrived, or some of it if it is much, and reports the time when it is through and whether
// there is more. What arrives meanwhile wakes the loop.
func (s *Session) receive() (now time.Time, more bool) {
	if s.takenNext == len(s.taken) {
		s.taken, s.takenNext = s.inbox.take(), 0
	}
	now = time.Now() // none of them has arrived later
	handled := 0
	for ; s.takenNext < len(s.taken) && handled < receiveMax; s.takenNext++ {
		t := &s.taken[s.takenNext]
		handled += len(t.b)
		s.handleTrain(now, t)
		s.forgetTrain(t)
	}
	s.sortArrived()
	if handled > udp.BufferSize {
		now = time.Now() // this has taken a while
	}
	return now, s.takenNext < len(s.taken)
}

// forgetTrain gives back what a train holds.
func (s *Session) forgetTrain(t *train) {
	s.e.queued.Add(-int64(t.charge()))
	t.buf.Release()
	*t = train{}
}

// nextTimeout returns when the loop must run again at the latest.
func (s *Session) nextTimeout() time.Time {
	next := s.closeAt.next()
	switch s.phase {
	case phaseSetup:
		next = earliest(next, s.deadline)
		if s.at != nil {
			next = earliest(next, s.at.resendAt)
		}
		return earliest(next, s.mux.NextTimeout()) // deadlines of what waits to be sent
	case phaseLinger, phaseGone:
		return next
	case phaseKeyed:
		next = earliest(next, s.deadline)
	default:
		next = earliest(next, s.agentEnd)
		if s.e.cfg.IdleTimeout > 0 {
			next = earliest(next, s.lastHeard.Add(s.e.cfg.IdleTimeout))
		}
	}
	if s.mob.Budget(s.mob.Current().Key) >= s.mux.MaxPacket() { // else nothing could be done about it
		next = earliest(next, s.mux.NextTimeout())
	}
	return earliest(next, s.mob.NextTimeout())
}

func (s *Session) handleTimeouts(now time.Time) {
	due := func(t time.Time) bool { return !t.IsZero() && !now.Before(t) }
	switch s.phase {
	case phaseSetup:
		if due(s.deadline) {
			s.failSetup(now, s.timeoutError())
			return
		}
		if s.at != nil && due(s.at.resendAt) {
			s.resendOffer(now)
		}
		s.mux.HandleTimeout(now) // nothing can be sent, but what is queued may have to be given up
		return
	case phaseLinger:
		if due(s.closeAt.over) {
			s.phase = phaseGone
		}
		return
	case phaseGone:
		return
	case phaseKeyed:
		if due(s.deadline) {
			s.failSetup(now, ErrIdentity)
			return
		}
	default:
		if due(s.agentEnd) {
			s.endSetup()
		}
		if s.e.cfg.IdleTimeout > 0 && due(s.lastHeard.Add(s.e.cfg.IdleTimeout)) {
			s.end(now, &CloseError{Code: CodeIdle}, true)
			return
		}
	}
	if due(s.mux.NextTimeout()) {
		probes := s.mux.Stats().ProbeTimeouts
		s.mux.HandleTimeout(now)
		if s.mux.Stats().ProbeTimeouts != probes { // what was sent by the current path is not acknowledged
			s.mob.HandleStall(now)
		}
	}
	s.mob.HandleTimeout(now)
	s.handleCloseTimeouts(now)
}

// timeoutError says what was missing when the time to establish the session ran out.
func (s *Session) timeoutError() error {
	switch s.stage {
	case StageSignaling:
		return ErrNoAnswer
	case StagePath:
		return ErrUnreachable
	default:
		return context.DeadlineExceeded
	}
}

// finish lets go of everything; the loop has ended.
func (s *Session) finish() {
	s.endSetup()
	for i := range s.taken[s.takenNext:] {
		s.forgetTrain(&s.taken[s.takenNext+i])
	}
	s.taken, s.takenNext = nil, 0
	s.e.queued.Add(-int64(s.inbox.close()))
	s.forgetPaths()
	for !s.retired() { // such as an offer that came too late for this session and is passed on
		s.runPosted()
	}
	s.e.forget(s)
	s.e.critical.forget(s)
	s.e.routes.Delete(s.local)
	close(s.gone)
}

// retired refuses further work, unless there still is some.
func (s *Session) retired() bool {
	last := s.snapshot(time.Now())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finished = len(s.posted) == 0
	s.last = last
	return s.finished
}

// An outgoing is a sealed signaling message in line to be sent.
type outgoing struct {
	payload []byte
	kind    signaling.Kind
}
