// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"context"
	"sync/atomic"

	"github.com/seed-98f0d4c2/runnel/internal/gate"
	"github.com/seed-98f0d4c2/runnel/internal/rangeset"
	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// A Sender is the sending end of a flow. Its methods may be called from any goroutine.
type Sender struct {
	m          *Mux
	sendBuffer int
	open       wire.FlowOpen // the ID in it belongs to the loop

	defaults messageDefaults

	gate gate.Gate // condition: Send need not wait
	// Protected by gate.
	pending   []outgoing // messages the loop has not taken over
	buffered  int        // bytes waiting, MessageCost included
	gapsKnown int        // messages abandoned without the peer knowing, when the loop last said
	sent      uint64     // messages, ever
	ready     bool       // on the loop's list
	announced bool
	closing   bool
	aborted   bool
	wantLevel int8
	abortCode uint64
	err       error // why Send fails
	receipts  receiptSlab
	writer    *MessageWriter // whose message is being written; Send waits for it

	done    gate.Gate // condition: the flow's fate is settled
	doneErr error     // protected by done

	returnGate gate.Gate // condition: an answer is there or none will come
	// Protected by returnGate.
	returnq   queue[*Receiver]
	returnErr error // none will come once the queue is empty

	begun    atomic.Bool // something of it has been sent
	answered *Receiver   // what it answers, until it is settled; belongs to the loop

	published senderCounts // protected by the mux's statsMu

	// The rest belongs to the loop. See send_flow.go and send_message.go.

	level     int8
	weight    uint8
	hasID     bool
	awaiting  bool // for the peer to allow another flow
	announce  bool
	ending    bool   // no message follows those in msgs
	failed    bool   // what was not delivered has been abandoned
	remind    bool   // the peer that it is blocked
	freeing   bool   // on the mux's list for that
	changed   bool   // on the mux's list of flows whose stats have changed
	closedT   bool   // a trace has been told that it is over
	manyKeys  bool   // there have been, in keys
	schedAt   int32  // place in the scheduler's heap, from 1; 0: it has nothing to send
	blockedAt int32  // place among those who wait for credit of their own, likewise
	waitAt    int32  // and in the line of those who wait for that of the session
	returns   int    // answers that may still come
	promised  int    // of them, those that the peer has been given places for
	pass      uint64 // the scheduler's
	openFact  fact
	endFact   fact
	abortFact fact
	code      uint64 // for FLOW_ABORT

	msgs      queue[sendMsg]    // not settled, or behind one that is not
	base      uint64            // number of the first
	next      uint64            // number of the first that is neither sent whole nor abandoned
	resend    rangeset.Set      // numbers of messages of which something is lost
	skips     queue[skipRun]    // abandoned, and to be told
	gaps      int               // messages abandoned, unless the peer is known to know
	keys      map[uint64]uint64 // the newest message of every Supersede key
	flowUsed  uint64            // credit used
	flowLimit uint64            // credit granted
	taken     []outgoing        // scratch for collecting
	freed     int               // bytes settled and not yet returned to buffered
	stats     senderCounts
	oldest    uint64 // no message below it is open
	unstarted uint64 // and none below this has yet to be begun
}

// An outgoing message is on its way from Send to the loop.
type outgoing struct {
	buf     *buffer
	receipt *Receipt
	terms   *terms // nil: those of the flow
}

// newSender returns the sender of a flow that is being opened.
func (m *Mux) newSender(label string, o *Options) *Sender {
	s := &Sender{
		m: m, sendBuffer: o.sendBuffer(), level: o.Priority.level(), weight: o.weight(), defaults: o.messageDefaults(),
		open:      wire.FlowOpen{Label: []byte(label), Stream: o.Stream, Arrival: o.Ordering == Arrival},
		returns:   max(o.Returns, 0),
		flowLimit: wire.InitialFlowWindow,
	}
	if len(o.Metadata) > 0 {
		s.open.Metadata = append([]byte(nil), o.Metadata...)
	}
	s.wantLevel = s.level
	s.published.queuedSince, s.published.unackedSince = never, never
	s.hintPriority()
	return s
}

// hintPriority has the opening say the flow's priority. What the peer has been told does not change.
func (s *Sender) hintPriority() {
	if !s.openFact.isSet() {
		s.open.HasPriority, s.open.Priority = s.level != Routine.level(), uint8(s.level)
	}
}

// Label returns the flow's label.
func (s *Sender) Label() string { return string(s.open.Label) }

// Send queues msg as one message and returns a receipt for it. Messages arrive whole and in the order sent, unless
// Options.Ordering says otherwise. opts say how hard to try; without any, the message is as reliable as Options says.
//
// Send copies msg; what goes to many is better sent with SendPayload. It blocks while Options.SendBuffer bytes are waiting, or Config.SessionSendBuffer on all flows
// together, while a message is being written (see Writer), and while the peer has yet to hear of 16384 abandoned
// messages; ctx bounds that wait and nothing else: ending it after Send has returned has no effect. If there is room,
// Send does not look at ctx.
//
// It fails with [ErrTooLarge], [ErrClosed] after Close or Abort, a [*RejectedError] once the peer has refused the flow,
// and the error that ended the session. A message that Send did not take has no receipt.
func (s *Sender) Send(ctx context.Context, msg []byte, opts ...SendOption) (*Receipt, error) {
	x, err := s.m.newTerms(len(msg), opts)
	if err != nil {
		return nil, err
	}
	err = s.waitAndLock(ctx)
	if err == nil && len(msg) > copyOutside {
		// The loop must not wait for the gate while a large message is copied.
		s.gate.Unlock(s.writable())
		buf := copyBuffer(msg)
		if err = s.waitAndLock(ctx); err == nil {
			return s.queueAndUnlock(buf, x), nil
		}
	}
	if err != nil {
		x.free()
		return nil, err
	}
	return s.queueAndUnlock(copyBuffer(msg), x), nil
}

// copyOutside is the size above which a message is copied with the gate open.
const copyOutside = 64 << 10

// TrySend is Send without waiting: it returns [ErrWouldBlock] when Send would block.
func (s *Sender) TrySend(msg []byte, opts ...SendOption) (*Receipt, error) {
	x, err := s.m.newTerms(len(msg), opts)
	if err != nil {
		return nil, err
	}
	if err := s.tryLock(); err != nil {
		x.free()
		return nil, err
	}
	return s.queueAndUnlock(copyBuffer(msg), x), nil
}

// WaitWritable waits until Send would not block, or would fail at once, whose error it then returns. If several
// goroutines send, another may take the room. It is for those who would rather decide late what to send.
//
// So it waits for the end of a message that is being written, however much room there is. Whoever is writing it must not
// call it: Write waits for room by itself.
func (s *Sender) WaitWritable(ctx context.Context) error {
	err := s.waitAndLock(ctx)
	if err == nil {
		s.gate.Unlock(s.writable())
	}
	return err
}

// maxMessage returns the size of the largest message that may be sent.
func (m *Mux) maxMessage() int {
	limit := m.config.maxMessage()
	if peer := m.peerMaxMessage.Load(); peer > 0 {
		limit = min(limit, int(peer))
	}
	return limit
}

// writable is the gate's condition. It may cease to hold with the gate open, when other flows fill the session's buffer,
// and come to hold again unnoticed; but not with nothing waiting, and what waits has the gate looked at when it is done.
func (s *Sender) writable() bool {
	return s.err != nil || s.buffered < s.sendBuffer && s.gapsKnown < maxGaps &&
		(s.buffered == 0 || s.m.buffered.Load() < s.m.maxBuffered)
}

// waitRoom waits until the gate's condition holds, and locks it.
func (s *Sender) waitRoom(ctx context.Context) error {
	for {
		if err := s.gate.WaitAndLock(ctx); err != nil {
			return err
		}
		if s.writable() {
			return nil
		}
		s.gate.Unlock(false)
	}
}

// buffer accounts for n more bytes that wait. The gate must be locked.
func (s *Sender) buffer(n int) {
	s.buffered += n
	s.m.buffered.Add(int64(n))
}

// sendErr returns why nothing may be sent any more. The gate must be locked.
func (s *Sender) sendErr() error {
	if s.err == nil && s.closing {
		return ErrClosed
	}
	return s.err
}

// waitAndLock waits until a message may be queued, and locks the gate.
func (s *Sender) waitAndLock(ctx context.Context) error {
	for {
		if err := s.waitRoom(ctx); err != nil {
			return err
		}
		if err := s.sendErr(); err != nil {
			s.gate.Unlock(s.writable())
			return err
		}
		if s.writer == nil {
			return nil
		}
		turn := s.writer.turn
		s.gate.Unlock(s.writable())
		select {
		case <-turn:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// tryLock locks the gate if a message may be queued at once.
func (s *Sender) tryLock() error {
	s.gate.Lock()
	err := s.sendErr()
	if err == nil && (!s.writable() || s.writer != nil) {
		err = ErrWouldBlock
	}
	if err != nil {
		s.gate.Unlock(s.writable())
	}
	return err
}

// queueAndUnlock hands a message to the loop and unlocks the gate.
func (s *Sender) queueAndUnlock(b *buffer, x *terms) *Receipt {
	receipt := s.receipts.next()
	receipt.s, receipt.seq = s, s.sent
	s.push(outgoing{b, receipt, x})
	if s.unlockReady() {
		s.m.hurry()
	}
	return receipt
}

func (s *Sender) push(out outgoing) {
	s.sent++
	s.pending = append(s.pending, out)
	s.buffer(len(out.buf.b) + wire.MessageCost)
}

// unlockAndNotify has the loop collect what changed and unlocks the gate.
func (s *Sender) unlockAndNotify() {
	if s.unlockReady() {
		s.m.wake()
	}
}

// unlockReady puts s on the loop's list and unlocks the gate. It reports false if it was there already.
func (s *Sender) unlockReady() bool {
	notify := !s.ready
	if notify {
		s.ready = true
		s.m.senderReady(s) // with the gate locked: who finds s ready counts on its being on the list
	}
	s.gate.Unlock(s.writable())
	return notify
}

// Begun reports whether anything of the flow has been sent, so that the peer may know of it. If it is false after the
// loop has taken over an Abort, the peer never will. See also [Receipt.Sent].
func (s *Sender) Begun() bool { return s.begun.Load() }

// Announce makes the peer see the flow although no message has been sent yet. It does not block.
func (s *Sender) Announce() {
	s.gate.Lock()
	s.announced = true
	s.unlockAndNotify()
}

// SetPriority moves the flow to another priority: from the next packet on, what is queued included. What
// Options.Priority has told the peer stays.
func (s *Sender) SetPriority(p Priority) {
	s.gate.Lock()
	s.wantLevel = p.level()
	s.unlockAndNotify()
}

// Close ends the flow after the messages already sent and waits until the peer has acknowledged all of it. ctx bounds
// the wait: when it ends, Close returns its error, and the flow goes on draining. Further calls wait for the same. A
// message that is being written (see Writer) may be finished, and the flow ends after it.
//
// Close returns nil if everything was delivered or abandoned by its own [SendOption], a [*RejectedError] if the peer
// refused the flow before, [ErrClosed] if the flow has been aborted, and otherwise the error that ended the session.
func (s *Sender) Close(ctx context.Context) error {
	s.gate.Lock()
	s.closing = true
	if s.err == nil && s.writer == nil {
		s.err = ErrClosed
	}
	s.unlockAndNotify()
	if err := s.done.WaitAndLock(ctx); err != nil {
		return err
	}
	defer s.done.Unlock(true)
	return s.doneErr
}

// Abort ends the flow at once: messages not yet delivered are abandoned, and the peer's Recv fails with an
// [*AbortedError] carrying code after the messages it has complete and in order. Answers are refused, as by
// RefuseReturns. It does not block. After a completed Close it does no more than that. code must not exceed 2^62-1.
func (s *Sender) Abort(code uint64) {
	s.gate.Lock()
	if !s.aborted {
		s.aborted, s.abortCode = true, min(code, wire.MaxVarint)
	}
	if s.err == nil {
		s.err = ErrClosed
	}
	s.unlockAndNotify()
	s.RefuseReturns()
}

// AcceptReturn returns the next flow with which the peer answers this one. See Options.Returns and Options.Answers. It
// works also after Close, and after the peer has rejected the flow, unless the code is one of the protocol's that say
// that nobody will answer: then it fails with the [*RejectedError]. It fails with [ErrClosed] when as many answers have
// come as were expected, or after RefuseReturns or Abort, with [ErrTooLarge] if the flow had to be aborted because of a
// message that is too large for the peer, and with the error that ended the session.
func (s *Sender) AcceptReturn(ctx context.Context) (*Receiver, error) {
	if err := s.returnGate.WaitAndLock(ctx); err != nil {
		return nil, err
	}
	if s.returnq.len() == 0 {
		err := s.returnErr
		s.returnGate.Unlock(true)
		return nil, err
	}
	r := takeReceiver(&s.returnq)
	s.returnGate.Unlock(s.returnq.len() > 0 || s.returnErr != nil)
	r.accepted()
	return r, nil
}

// RefuseReturns rejects answers from now on, those included that AcceptReturn has not returned yet. A flow opened with
// Options.Returns stays in memory until all answers have come, or this is called.
func (s *Sender) RefuseReturns() {
	s.closeReturns(ErrClosed)
	s.returnGate.Lock()
	var refused []*Receiver
	for s.returnq.len() > 0 {
		refused = append(refused, takeReceiver(&s.returnq))
	}
	s.returnGate.Unlock(s.returnErr != nil)
	for _, r := range refused {
		r.Reject(uint64(wire.CodeFlowAnswer))
	}
	s.gate.Lock()
	s.unlockAndNotify()
}

// closeReturns says that no further answers will come.
func (s *Sender) closeReturns(err error) {
	s.returnGate.Lock()
	if s.returnErr == nil {
		s.returnErr = err
	}
	s.returnGate.Unlock(true)
}
