// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/congestion"
	"github.com/seed-98f0d4c2/runnel/internal/gate"
	"github.com/seed-98f0d4c2/runnel/internal/rangeset"
	"github.com/seed-98f0d4c2/runnel/internal/recovery"
	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// A Mux is the flow machine of one end of a session. See the package documentation for who may call what.
type Mux struct {
	config Config
	wake   func()
	hurry  func()

	// What handles hand to the loop. Who holds a flow's gate may lock mu, but not the other way round.
	mu             sync.Mutex
	err            error // set once the session is over
	readySenders   []*Sender
	readyReceivers []*Receiver
	asks           map[*Receipt]ask
	asked          []*Receipt    // its keys, in the order of asking
	dirty          atomic.Bool   // there is something in the ready lists or asks
	readBytes      atomic.Uint64 // credit freed by reading since the loop last looked
	peerMaxMessage atomic.Int64  // largest message the peer takes; zero: not known yet
	buffered       atomic.Int64  // sum of Sender.buffered
	maxBuffered    int64         // what it is to stay below; constant

	// What the loop hands to Accept.
	acceptGate gate.Gate // condition: something to accept, or the session is over
	acceptq    queue[*Receiver]
	acceptErr  error

	statsMu sync.Mutex
	stats   Stats

	// The rest belongs to the loop.

	acks   recovery.Acks           // what has arrived
	loss   *recovery.Tracker[item] // what was sent
	now    time.Time               // of the call in progress
	sched  scheduler
	closed bool
	count  Stats   // counters; the rest is filled in by publish
	trace  *Trace  // never nil
	told   Metrics // by trace

	// The packet being assembled.
	building          bool
	buildPN           uint64
	buildItems        []item
	buildEliciting    bool
	paceAt            time.Time // when pacing lets something out; zero: not waiting for it
	yieldUntil        time.Time // how long the peer wants us to yield
	urgentSent        time.Time // when data of an urgent flow was last sent
	demand            congestion.Demand
	noteItems         []item    // scratch
	takenSenders      []*Sender // scratch
	takenReceivers    []*Receiver
	parsedAck         wire.Ack
	ackParsed         bool      // the packet being handled has brought one
	freed             []*Sender // flows whose buffers an acknowledgement emptied
	controlq          queue[*Receiver]
	sessionBlockedDue bool
	blockedDue        bool

	// Sending.
	senders      map[*Sender]struct{} // open, or closed and not yet settled
	sendersByID  map[uint64]*Sender   // those and the ones that answers may still come for
	nextID       uint64
	peerFlows    uint64        // how many flows the peer lets us open, ever
	awaiting     [2]awaitingID // flows that wait for that to grow: those that answer, and others
	sendUsed     uint64        // credit used over all flows
	sendLimit    uint64        // credit granted
	sendReserved uint64        // credit that begun messages will still use
	sessionWait  sessionLine   // flows that wait for sendLimit to grow
	blocked      []*Sender     // flows that wait for credit of their own
	probeAt      time.Time     // when to remind the peer that we are blocked
	probeEvery   time.Duration

	sendState

	// Receiving.
	receivers    map[uint64]*Receiver // not complete
	lastReceiver *Receiver            // most recently used of them
	finished     rangeset.Set         // IDs of flows that are complete
	retired      uint64               // flows that no longer count as open
	answersDue   uint64               // answers to our flows that may come or are open, and count besides
	topFlow      uint64               // flows from here on have not been heard of
	recvUsed     uint64               // credit the peer has used over all flows
	recvLimit    uint64               // credit granted
	recvConsumed uint64               // of it, given back by reading or discarding
	limits       fact                 // SESSION_LIMITS
	recvWindow   uint64               // how much is granted at a time
	recvTune     tuner
	notifyAt     uint64      // readBytes worth telling the loop of; constant
	flowLimit    uint64      // flows the peer may open, ever
	pieces       int         // ranges in incomplete messages, and of numbers
	ahead        int         // sum of recvMsg.ahead
	spare        []*recvMsg  // for reuse
	touched      []*Receiver // have something for their handles
	waiting      []*Receiver // have messages behind gaps that must not wait for ever
	waitAt       time.Time   // for how long at most; zero: nobody waits
	rejecting    int         // rejections the peer does not know of

	urgentReceived time.Time // when a time-critical flow last received something
}

// NewMux returns the machine of a new session.
func NewMux(c *Config) *Mux {
	m := &Mux{
		senders: make(map[*Sender]struct{}), sendersByID: make(map[uint64]*Sender),
		receivers: make(map[uint64]*Receiver),
		peerFlows: wire.InitialFlowCount, flowLimit: wire.InitialFlowCount,
		sendLimit: wire.InitialSessionWindow, recvLimit: wire.InitialSessionWindow,
	}
	if c != nil {
		m.config = *c
	}
	m.maxBuffered = m.config.sessionSendBuffer()
	m.wake = m.config.Wake
	if m.wake == nil {
		m.wake = func() {}
	}
	m.hurry = m.config.Hurry
	if m.hurry == nil {
		m.hurry = m.wake
	}
	m.loss = recovery.New(recovery.Config[item]{
		Fate: m.settle, Controller: m.config.Controller, MaxPacket: m.config.MaxPacket, InitialRTT: m.config.InitialRTT,
		Trace: m.startTrace(),
	})
	m.recvWindow = m.config.firstSessionWindow()
	m.notifyAt = m.recvWindow / 8
	m.limits.set()
	m.updateSessionLimits()
	m.publish()
	return m
}

// Open opens a flow. Nothing is sent, and the peer sees nothing, before the first message, Announce or Close.
//
// label names what the flow is for, at most [MaxLabel] bytes; the receiver reads it first. o may be nil. Open does not
// block: while the peer does not accept more flows, messages wait in the flow's buffer. It fails with [ErrTooLarge] or
// the error that ended the session.
//
// The caller must end the flow with Close or Abort, or it takes up memory at both ends until the session ends.
func (m *Mux) Open(label string, o *Options) (*Sender, error) {
	if o == nil {
		o = &Options{}
	}
	if len(label) > MaxLabel || len(o.Metadata) > MaxMetadata {
		return nil, fmt.Errorf("%w: label of %d and metadata of %d bytes, at most %d and %d may be",
			ErrTooLarge, len(label), len(o.Metadata), MaxLabel, MaxMetadata)
	}
	s := m.newSender(label, o)
	if o.Answers != nil && o.Answers.m != m {
		return nil, errForeignAnswer
	}
	if s.returns == 0 {
		s.returnErr = ErrClosed
		s.returnGate.Lock()
		s.returnGate.Unlock(true)
	}
	if o.Answers != nil {
		s.open.HasAnswers, s.open.Answers = true, o.Answers.id
		s.answered = o.Answers
	}
	s.gate.Lock()
	s.gate.Unlock(true)
	m.mu.Lock()
	if m.err != nil {
		m.mu.Unlock()
		return nil, m.err
	}
	if s.answered != nil {
		s.answered.addAnswer(1)
	}
	s.ready = true
	m.readySenders = append(m.readySenders, s)
	m.dirty.Store(true)
	m.mu.Unlock()
	m.wake() // Send does not: as long as s is ready it counts on the loop to come
	return s, nil
}

// Accept returns the next flow the peer opened, in the order the flows became known. Flows that answer one of ours come
// out of [Sender.AcceptReturn] instead. Flows wait here until they are accepted, with what was sent on them; a flow
// that is not wanted should be rejected, or it keeps one of Config.MaxIncomingFlows taken.
//
// When the session is over, flows that are already here are still returned, and then the error that ended it.
func (m *Mux) Accept(ctx context.Context) (*Receiver, error) {
	if err := m.acceptGate.WaitAndLock(ctx); err != nil {
		return nil, err
	}
	if m.acceptq.len() == 0 {
		err := m.acceptErr
		m.acceptGate.Unlock(true)
		return nil, err
	}
	r := takeReceiver(&m.acceptq)
	m.acceptGate.Unlock(m.acceptq.len() > 0 || m.acceptErr != nil)
	r.accepted()
	return r, nil
}

func takeReceiver(q *queue[*Receiver]) *Receiver {
	slot := q.pop()
	r := *slot
	*slot = nil
	return r
}

// senderReady puts s on the loop's list. The caller holds the gate of s, has set s.ready and calls wake afterwards.
func (m *Mux) senderReady(s *Sender) {
	m.mu.Lock()
	m.readySenders = append(m.readySenders, s)
	m.dirty.Store(true)
	m.mu.Unlock()
}

func (m *Mux) receiverReady(r *Receiver) {
	m.mu.Lock()
	m.readyReceivers = append(m.readyReceivers, r)
	m.dirty.Store(true)
	m.mu.Unlock()
}

// Collect takes over what handles have done so far, which Append does anyway: after it nothing more is sent of a flow
// that has been aborted before. It may be called by the loop only.
func (m *Mux) Collect(now time.Time) {
	if m.closed {
		return
	}
	m.now = now
	m.collect()
}

// collect takes over what handles have done since the last time.
func (m *Mux) collect() {
	if !m.dirty.Load() {
		return
	}
	m.mu.Lock()
	m.dirty.Store(false)
	m.takenSenders, m.readySenders = m.readySenders, m.takenSenders[:0]
	m.takenReceivers, m.readyReceivers = m.readyReceivers, m.takenReceivers[:0]
	asks, asked := m.asks, m.asked
	m.asks, m.asked = nil, nil
	m.mu.Unlock()
	for i, s := range m.takenSenders {
		m.collectSender(s)
		m.takenSenders[i] = nil
	}
	for i, r := range m.takenReceivers {
		m.collectReceiver(r)
		m.takenReceivers[i] = nil
	}
	for _, r := range asked {
		m.grant(r, asks[r])
	}
	m.recvConsumed += m.readBytes.Swap(0)
	m.updateSessionLimits()
	m.handOut()
}

// Close ends the session: every handle fails with err once what is at hand has been read, and every receipt is
// resolved. Nothing more is sent. err must not be nil. Only the first call counts. It may be called by the loop only.
func (m *Mux) Close(now time.Time, err error) {
	m.mu.Lock()
	if m.err != nil {
		m.mu.Unlock()
		return
	}
	m.err = err
	m.mu.Unlock()
	m.now = now
	m.collect()
	m.handOut()
	m.closed = true
	// In the order of their numbers, so that the same calls have the same effect.
	for _, s := range slices.SortedFunc(maps.Keys(m.senders), func(a, b *Sender) int { return cmp.Compare(a.ref().ID, b.ref().ID) }) {
		m.failSender(s, SessionOver, err)
		s.closeReturns(err)
	}
	m.returnBuffers()
	for _, s := range m.sendersByID { // those that only wait for answers among them
		s.closeReturns(err)
	}
	for _, id := range slices.Sorted(maps.Keys(m.receivers)) {
		r := m.receivers[id]
		r.fail(err)
		m.traceReceiverClosed(r, err)
	}
	m.acceptGate.Lock()
	m.acceptErr = err
	m.acceptGate.Unlock(true)
	clear(m.senders)
	clear(m.sendersByID)
	clear(m.receivers)
	m.lastReceiver, m.probeAt = nil, time.Time{}
	m.sched, m.deadlines, m.awaiting, m.controlq = scheduler{}, nil, [2]awaitingID{}, queue[*Receiver]{}
	m.loss.Close()
	m.publish()
}

// InFlight returns how many bytes await acknowledgement. It is for the driver's loop, as Busy is.
func (m *Mux) InFlight() int { return m.loss.InFlight() }

// Busy reports whether there is something to send that the path does not take for now.
func (m *Mux) Busy() bool { return m.hasWork() }

// Idle reports whether everything handed to the flows has reached the peer: nothing is queued and nothing awaits
// acknowledgement. An orderly close of the session waits for it.
func (m *Mux) Idle() bool {
	if m.rejecting > 0 || m.dirty.Load() && m.uncollected() {
		return false
	}
	for s := range m.senders {
		if s.unsettled() {
			return false
		}
	}
	return true
}
