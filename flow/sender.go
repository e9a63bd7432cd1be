// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"context"
	"fmt"

	"github.com/seed-98f0d4c2/runnel/internal/gate"
	"github.com/seed-98f0d4c2/runnel/internal/rangeset"
	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// A Sender is the sending end of a flow. Its methods may be called from any goroutine.
type Sender struct {
	m          *Mux
	sendBuffer int
	open       wire.FlowOpen // the ID in it belongs to the loop

	gate gate.Gate // condition: Send need not wait
	// Protected by gate.
	pending   []outgoing // messages the loop has not taken over
	buffered  int        // bytes waiting, MessageCost included
	ready     bool       // on the loop's list
	announced bool
	closing   bool
	aborted   bool
	abortCode uint64
	err       error // why Send fails
	receipts  receiptSlab

	done    gate.Gate // condition: the flow's fate is settled
	doneErr error     // protected by done

	returnGate gate.Gate // condition: an answer is there or none will come
	// Protected by returnGate.
	returnq   queue[*Receiver]
	returnErr error // none will come once the queue is empty

	// The rest belongs to the loop. See send_flow.go.

	level     int
	schedNext *Sender // the scheduler's
	queued    bool    // the scheduler has it

	hasID     bool
	awaiting  bool // for the peer to allow another flow
	returns   int  // answers that may still come
	announce  bool
	ending    bool // no message follows those in msgs
	failed    bool // what was not delivered has been abandoned
	openFact  fact
	endFact   fact
	abortFact fact
	code      uint64 // for FLOW_ABORT

	msgs      queue[sendMsg] // not delivered, or behind one that is not
	base      uint64         // number of the first
	next      uint64         // number of the first that has not been sent whole
	resend    rangeset.Set   // numbers of messages of which something is lost
	flowUsed  uint64         // credit used
	flowLimit uint64         // credit granted
	waiting   bool           // for credit of the session
	blocked   bool           // for credit of its own
	listed    bool           // among the mux's blocked flows
	remind    bool           // of that
	taken     []outgoing     // scratch for collecting
	freed     int            // bytes acknowledged and not yet returned to buffered
	freeing   bool           // on the mux's list for that
}

// An outgoing message is on its way from Send to the loop.
type outgoing struct {
	buf     *buffer
	receipt *Receipt
}

// Label returns the flow's label.
func (s *Sender) Label() string { return string(s.open.Label) }

// Send queues msg as one message and returns a receipt for it. Messages arrive whole and in the order sent.
//
// Send copies msg. It blocks while Options.SendBuffer bytes are waiting; ctx bounds that wait and nothing else: ending
// it after Send has returned has no effect. If there is room, Send does not look at ctx.
//
// It fails with [ErrTooLarge], [ErrClosed] after Close or Abort, a [*RejectedError] once the peer has refused the flow,
// and the error that ended the session. A message that Send did not take has no receipt.
func (s *Sender) Send(ctx context.Context, msg []byte) (*Receipt, error) {
	if err := s.m.checkSize(len(msg)); err != nil {
		return nil, err
	}
	if err := s.gate.WaitAndLock(ctx); err != nil {
		return nil, err
	}
	if len(msg) > copyOutside && s.err == nil {
		// The loop must not wait for the gate while a large message is copied.
		s.gate.Unlock(s.writable())
		b := copyBuffer(msg)
		if err := s.gate.WaitAndLock(ctx); err != nil {
			return nil, err
		}
		return s.sendAndUnlock(b)
	}
	return s.sendCopyAndUnlock(msg)
}

// copyOutside is the size above which a message is copied with the gate open.
const copyOutside = 64 << 10

// TrySend is Send without waiting: it returns [ErrWouldBlock] when Send would block.
func (s *Sender) TrySend(msg []byte) (*Receipt, error) {
	if err := s.m.checkSize(len(msg)); err != nil {
		return nil, err
	}
	s.gate.Lock()
	if !s.writable() {
		s.gate.Unlock(false)
		return nil, ErrWouldBlock
	}
	return s.sendCopyAndUnlock(msg)
}

// checkSize returns an error if no message of n bytes may be sent.
func (m *Mux) checkSize(n int) error {
	limit := m.config.maxMessage()
	if peer := m.peerMaxMessage.Load(); peer > 0 {
		limit = min(limit, int(peer))
	}
	if n > limit {
		return fmt.Errorf("%w: message of %d bytes, at most %d may be", ErrTooLarge, n, limit)
	}
	return nil
}

// writable is the gate's condition.
func (s *Sender) writable() bool { return s.err != nil || s.buffered < s.sendBuffer }

func (s *Sender) sendCopyAndUnlock(msg []byte) (*Receipt, error) {
	if err := s.err; err != nil {
		s.gate.Unlock(true)
		return nil, err
	}
	return s.sendAndUnlock(copyBuffer(msg))
}

func (s *Sender) sendAndUnlock(b *buffer) (*Receipt, error) {
	if err := s.err; err != nil {
		s.gate.Unlock(true)
		return nil, err
	}
	receipt := s.receipts.next()
	s.pending = append(s.pending, outgoing{b, receipt})
	s.buffered += len(b.b) + wire.MessageCost
	s.unlockAndNotify()
	return receipt, nil
}

// unlockAndNotify unlocks the gate and has the loop collect what changed.
func (s *Sender) unlockAndNotify() {
	notify := !s.ready
	s.ready = true
	s.gate.Unlock(s.writable())
	if notify {
		s.m.senderReady(s)
	}
}

// Announce makes the peer see the flow although no message has been sent yet. It does not block.
func (s *Sender) Announce() {
	s.gate.Lock()
	s.announced = true
	s.unlockAndNotify()
}

// Close ends the flow after the messages already sent and waits until the peer has acknowledged all of it. ctx bounds
// the wait: when it ends, Close returns its error, and the flow goes on draining. Further calls wait for the same.
//
// Close returns nil if everything was delivered, a [*RejectedError] if the peer refused the flow before, [ErrClosed] if
// the flow has been aborted, and otherwise the error that ended the session.
func (s *Sender) Close(ctx context.Context) error {
	s.gate.Lock()
	s.closing = true
	if s.err == nil {
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
// works also after Close, and after the peer has rejected the flow. It fails with [ErrClosed] when as many answers have
// come as were expected, or after RefuseReturns or Abort, and with the error that ended the session.
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
