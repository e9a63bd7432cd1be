// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-98f0d4c2/runnel/flow"
	"github.com/seed-98f0d4c2/runnel/internal/eventlog"
	"github.com/seed-98f0d4c2/runnel/internal/seal"
	"github.com/seed-98f0d4c2/runnel/internal/wire"
	"github.com/seed-98f0d4c2/runnel/mobility"
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

// A Session is a secure association with one peer, named by the peer's key and not by an address, which it outlives.
// Its methods may be called from multiple goroutines.
type Session struct {
	// The loop, a goroutine of its own, owns all state but what is said to be guarded otherwise; everyone else posts work
	// to it. Somebody who has a little to do for it may do that himself while the loop sleeps (rush.go); so the loop is
	// whoever holds own.

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
	finished  bool         // the loop has ended
	err       error        // written before done is closed
	delivered bool         // likewise: everything had been when the close began
	last      Stats        // the final snapshot, once gone
	explained *Explanation // the last, once the session has ended; written by the loop
	events    events
	arrived   arrived
	calls     sessionCalls

	// Owned by the loop.
	phase     phase
	at        *setup // nil once the setup has served its purpose
	nearby    *setup // a second try, at addresses found on the local network; nil most of the time
	seek      seek
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
	punch     *punch // nil until the session has been relayed
	punches   []PunchFacts
	checks    []check // addresses that ICE was told of
	addresses AddressPolicy
	lan       atomic.Pointer[[]netip.Prefix] // with LANOnly: the networks this host is on; anyone may read it
	moves     announcer
	attempt   attemptID // that established it
	acked     uint64    // packets of which mob knows that they arrived
	lost      uint64    // or not
	stalled   time.Time // since when nothing was heard, if no path answers; zero: one does
	peerSeen  time.Time // when the message of the peer was made that this session rests on
	instance  [16]byte  // the peer's
	lastHeard time.Time
	wokenAt   time.Time // when the loop last ran after a sleep, or battery mode changed
	missedAt  time.Time // when it was last found that no path answers
	taken     []train   // from the inbox
	takenNext int       // the first of them not handled yet
	takenAt   time.Time
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
func (e *Endpoint) newSession(id ID, dialled bool, addresses AddressPolicy) *Session {
	now := time.Now()
	s := &Session{
		e:         e,
		id:        id,
		dialled:   dialled,
		addresses: addresses,
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
		Noted:         s.noted,
		MaxMessage:    e.cfg.MaxMessage,
		RecvWindow:    e.cfg.ReceiveWindow,
		SessionWindow: e.cfg.SessionWindow,
		Controller:    e.cfg.Controller,
		MaxRecvWindow: e.cfg.MaxReceiveWindow,

		SessionSendBuffer: e.cfg.SessionSendBuffer,
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
