// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"context"
	"errors"
	"io"
	"iter"

	"github.com/seed-98f0d4c2/runnel/internal/gate"
	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// A Message is one received message.
type Message struct {
	Data []byte // the caller's
	Seq  uint64 // position in the flow, from 0; a gap is a message the sender abandoned
}

// A Receiver is the receiving end of a flow. Its methods may be called from any goroutine; concurrent calls of Recv each
// get different messages.
//
// What is not read stays within Config.RecvWindow, and stops the sender of this flow and of no other, as long as
// Config.SessionWindow suffices for all flows.
type Receiver struct {
	m        *Mux
	id       uint64
	label    string
	metadata []byte
	stream   bool

	gate gate.Gate // condition: Recv need not wait
	// Protected by gate.
	queue    queue[Message]
	consumed uint64 // credit freed by reading since the loop last looked
	ready    bool   // on the loop's list
	taken    bool   // the application has it
	complete bool   // nothing follows what is in queue
	retired  bool   // the loop knows that the application is done with it
	rejected bool
	code     uint64 // of the rejection
	err      error  // why nothing follows, once complete

	// The rest belongs to the loop. See recv_flow.go.

	messages   map[uint64]*recvMsg // incomplete, or behind an incomplete one
	next       uint64              // number of the next message to hand over
	forward    uint64              // messages below it that are incomplete are abandoned
	used       uint64              // credit the sender has used, as far as we know
	handedOver uint64              // of it, by messages handed over
	dropped    uint64              // of it, by abandoned messages
	freed      uint64              // of it, given back
	granted    uint64
	window     fact
	hasEnd     bool
	endSeq     uint64 // messages in the flow, if hasEnd
	endUsed    uint64 // credit used by them
	settled    bool   // out of the mux's tables
	refusing   bool   // rejected, as far as the loop knows
	reject     fact
	rejectCode uint64
	inControl  bool // in the mux's control queue
}

// Label returns the label the sender gave the flow.
func (r *Receiver) Label() string { return r.label }

// Metadata returns what the sender passed in Options.Metadata. It must not be changed.
func (r *Receiver) Metadata() []byte { return r.metadata }

// Stream reports whether the sender opened the flow as one half of a byte stream; see Options.Stream.
func (r *Receiver) Stream() bool { return r.stream }

// readable is the gate's condition.
func (r *Receiver) readable() bool { return r.queue.len() > 0 || r.complete || r.rejected }

// Recv returns the next message. Messages come in the order sent. A message that is at hand is returned even if ctx has
// ended.
//
// After the messages at hand, it returns io.EOF if the sender has closed the flow, an [*AbortedError] if it has aborted
// it, [ErrClosed] if the flow has been rejected on this side, [ErrTooLarge] if it was because of a message above
// Config.MaxMessage, and otherwise the error that ended the session.
func (r *Receiver) Recv(ctx context.Context) (Message, error) {
	if err := r.gate.WaitAndLock(ctx); err != nil {
		return Message{}, err
	}
	if r.queue.len() == 0 {
		err := r.err
		if r.rejected && err == nil {
			err = ErrClosed
		}
		r.unlockAndNotify(r.complete && !r.retired)
		return Message{}, err
	}
	slot := r.queue.pop()
	msg := *slot
	*slot = Message{}
	r.consume(uint64(len(msg.Data)) + wire.MessageCost)
	return msg, nil
}

// consume gives back credit and unlocks the gate.
func (r *Receiver) consume(n uint64) {
	r.consumed += n
	total := r.m.readBytes.Add(n)
	// The loop is told when it can grant an eighth of a window, and when the flow is done with.
	r.unlockAndNotify(r.consumed >= r.m.config.recvWindow()/8 || total >= r.m.config.sessionWindow()/8 ||
		r.complete && r.queue.len() == 0 && !r.retired)
}

func (r *Receiver) unlockAndNotify(worth bool) {
	notify := worth && !r.ready
	r.ready = r.ready || notify
	r.gate.Unlock(r.readable())
	if notify {
		r.m.receiverReady(r)
	}
}

// accepted records that the application has the receiver.
func (r *Receiver) accepted() {
	r.gate.Lock()
	r.taken = true
	r.unlockAndNotify(r.complete && r.queue.len() == 0)
}

// Messages iterates over Recv. The sequence ends without an error after the sender's orderly close; otherwise its last
// element is the error that stopped it.
func (r *Receiver) Messages(ctx context.Context) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		for {
			msg, err := r.Recv(ctx)
			if errors.Is(err, io.EOF) {
				return
			}
			if !yield(msg, err) || err != nil {
				return
			}
		}
	}
}

// Reject refuses the flow: what has not been read is dropped, and the sender's calls fail with a [*RejectedError]
// carrying code, which must not exceed 2^62-1. Messages that are already acknowledged stay Delivered at the sender. It
// does not block, and has no effect at the sender if the whole flow has arrived already.
func (r *Receiver) Reject(code uint64) {
	r.gate.Lock()
	if !r.rejected { // else the machine has, and what is here is dropped all the same
		r.rejected, r.code = true, min(code, wire.MaxVarint)
	}
	r.taken = true
	var n uint64
	for r.queue.len() > 0 {
		slot := r.queue.pop()
		n += uint64(len(slot.Data)) + wire.MessageCost
		*slot = Message{}
	}
	r.consumed += n
	r.m.readBytes.Add(n)
	r.unlockAndNotify(true)
}

// fail ends the flow for the application, after what is at hand.
func (r *Receiver) fail(err error) {
	r.gate.Lock()
	defer func() { r.gate.Unlock(r.readable()) }()
	r.complete = true
	if r.err == nil {
		r.err = err
	}
}
