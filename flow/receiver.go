// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"context"
	"errors"
	"io"
	"iter"
	"sync/atomic"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/gate"
	"github.com/seed-98f0d4c2/runnel/internal/rangeset"
	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// A Receiver is the receiving end of a flow. Its methods may be called from any goroutine; concurrent calls of Recv
// each get different messages.
//
// What is not read stays within the flow's window, and stops the sender of this flow and of no other, as long as
// Config.SessionWindow suffices for all flows. The window grows up to Config.MaxRecvWindow while the application reads
// as fast as messages come.
type Receiver struct {
	m        *Mux
	id       uint64
	label    string
	metadata []byte
	stream   bool
	priority Priority
	urgent   bool          // its priority makes it time-critical
	notifyAt atomic.Uint64 // credit freed by reading that is worth telling the loop of

	done chan struct{} // closed when nothing follows; made when first asked for; protected by gate

	gate gate.Gate // condition: Recv need not wait
	// Protected by gate.
	queue        messageQueue
	consumed     uint64 // credit freed by reading since the loop last looked
	ready        bool   // on the loop's list
	taken        bool   // the application has it
	complete     bool   // nothing follows what is in queue
	retired      bool   // the loop knows that the application is done with it
	answers      int    // flows of ours that answer it and are not settled
	rejected     bool
	code         uint64 // of the rejection
	err          error  // why nothing follows, once complete
	wanted       Ordering
	wantedWait   time.Duration
	reorder      bool // nothing may be read before the loop has put the queue in order
	finishing    bool // Latest is wanted, once the message being read is at its end
	stats        ReceiverStats
	read         uint64 // above the newest message read
	dropped      uint64 // messages that were at hand when they were outdated
	droppedBytes uint64 // of them
	goesOn       bool   // the last message read was a part
	nextPart     uint64 // number that follows it
	dropping     bool   // the rest of a message that was cut off
	reader       *MessageReader

	// The rest belongs to the loop. See recv_flow.go. Every message is in one of these states: unknown, in table, or
	// settled, which is handed over, skipped or outdated. All below base are settled, base is not, and of the others
	// those in gone. In an ordered flow a message is handed over when it is not above front; front is base, unless gaps
	// have been passed or what is below the floor was outdated.

	table      recvTable
	base       uint64
	front      uint64
	gone       rangeset.Set
	floor      uint64       // what is not settled below is outdated; see recv_latest.go
	top        uint64       // messages from here on are unknown
	out        messageQueue // handed over in this packet
	touched    bool         // among the mux's touched flows
	lastSize   int          // of the last message handed over
	count      ReceiverStats
	ordering   Ordering
	maxWait    time.Duration
	waitAt     int64          // when gaps are to be passed, on the mux's clock; zero: nobody waits
	held       queue[heldMsg] // in order of time, and some that have been handed over; empty without maxWait
	inWaiting  bool           // among the mux's waiting flows
	used       uint64
	freed      uint64 // of used, given back
	granted    uint64
	window     uint64 // how much is granted at a time
	tune       tuner
	windowFact fact
	hasEnd     bool
	endSeq     uint64 // messages in the flow, if hasEnd
	endUsed    uint64 // credit used by them
	settled    bool   // out of the mux's tables
	promised   bool   // an answer that has a place of its own
	refusing   bool   // rejected, as far as the loop knows
	reject     fact
	rejectCode uint64
	inControl  bool // in the mux's control queue
}

// newReceiver returns the receiving end of a flow that the peer opens.
func (m *Mux) newReceiver(o *wire.FlowOpen) *Receiver {
	r := &Receiver{
		m: m, id: o.Flow, label: string(o.Label), metadata: append([]byte(nil), o.Metadata...), stream: o.Stream,
		granted: wire.InitialFlowWindow, window: m.config.recvWindow(),
	}
	if o.HasPriority {
		r.priority = priorityOf(o.Priority)
		r.urgent = r.priority >= Urgent
	}
	if o.Arrival && !o.Stream {
		r.ordering, r.wanted = Arrival, Arrival
	}
	r.notifyAt.Store(r.window / 8)
	return r
}

// Label returns the label the sender gave the flow.
func (r *Receiver) Label() string { return r.label }

// Metadata returns what the sender passed in Options.Metadata. It must not be changed.
func (r *Receiver) Metadata() []byte { return r.metadata }

// Stream reports whether the sender opened the flow as one half of a byte stream; see Options.Stream.
func (r *Receiver) Stream() bool { return r.stream }

// Priority returns the priority that the sender gave the flow when it opened it, or Routine if it did not tell.
func (r *Receiver) Priority() Priority { return r.priority }

// readable is the gate's condition.
func (r *Receiver) readable() bool {
	return r.queue.len() > 0 && !r.reorder || r.complete || r.rejected
}

// Recv returns the next message. Messages come in the order sent, unless the flow is one in order of arrival; see
// [Receiver.SetOrdering]. A message that is at hand is returned even if ctx has ended. Parts of messages written with
// [Sender.Writer] come one by one, with More set; [Receiver.NextReader] puts them together.
//
// After the messages at hand, it returns io.EOF if the sender has closed the flow, an [*AbortedError] if it has aborted
// it, [ErrClosed] if the flow has been rejected on this side, [ErrTooLarge] if it was because of a message above
// Config.MaxMessage, and otherwise the error that ended the session.
func (r *Receiver) Recv(ctx context.Context) (Message, error) {
	if err := r.gate.WaitAndLock(ctx); err != nil {
		return Message{}, err
	}
	if r.queue.len() == 0 {
		return Message{}, r.endAndUnlock()
	}
	return r.popAndUnlock(), nil
}

// endAndUnlock returns why there is no message.
func (r *Receiver) endAndUnlock() error {
	err := r.err
	if r.rejected && err == nil {
		err = ErrClosed
	}
	r.unlockAndNotify(r.complete && !r.retired)
	return err
}

// popAndUnlock takes the first message and gives back its credit.
func (r *Receiver) popAndUnlock() Message {
	msg := r.queue.pop()
	r.read = max(r.read, msg.Seq+1)
	finished := (!msg.More || msg.Seq != r.nextPart) && r.finish()
	r.goesOn, r.nextPart, r.dropping = msg.More, msg.Seq+1, r.dropping && msg.cut && msg.More
	n := msg.cost()
	r.consumed += n
	total := r.m.readBytes.Add(n)
	// The loop is told when it can grant an eighth of a window, and when the flow is done with.
	r.unlockAndNotify(finished || r.consumed >= r.notifyAt.Load() || total >= r.m.notifyAt ||
		r.complete && r.queue.len() == 0 && !r.retired)
	return msg
}

// finish has the order be Latest if that only waited for the end of the message that has been read.
func (r *Receiver) finish() bool {
	if !r.finishing {
		return false
	}
	r.finishing = false
	r.dropOutdated()
	return true
}

func (r *Receiver) unlockAndNotify(worth bool) {
	notify := worth && !r.ready
	if notify {
		r.ready = true
		r.m.receiverReady(r) // with the gate locked: who finds r ready counts on its being on the list
	}
	r.gate.Unlock(r.readable())
	if notify {
		r.m.wake()
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

// SetOrdering changes the order in which messages are handed over, from the next Recv on. At first it is what the
// sender asked for with Options.Ordering. No message is handed over twice.
//
// With [Arrival], a message is handed over as soon as it is complete. Going back to [Ordered], messages that have not
// been read wait again until those before them are there; the ones missing among those already read come first, in
// order. With [Latest], messages that have not been read are dropped but for the newest, and what was older then stays
// dropped if the order changes again. It does not block, and has no effect on a stream.
func (r *Receiver) SetOrdering(o Ordering) {
	if r.stream {
		return
	}
	r.gate.Lock()
	if o = min(o, Latest); o == r.wanted {
		r.gate.Unlock(r.readable())
		return
	}
	r.finishing = o == Latest && r.wanted == Ordered && r.goesOn && !r.dropping
	if r.wanted = o; o == Latest && !r.finishing {
		r.dropOutdated()
	}
	if o == Ordered && r.complete {
		r.queue.sort()
	}
	r.reorder = o == Ordered && !r.complete
	r.unlockAndNotify(!r.complete || o == Latest && !r.retired)
}

// SetMaxWait bounds how long a complete message of an ordered flow waits for those before it: after d, or up to a
// sixteenth earlier, it is handed over, and what was missing comes with Message.Late set if it still arrives. Zero or
// less means that messages wait for as long as it takes, which is the default. It does not block.
func (r *Receiver) SetMaxWait(d time.Duration) {
	r.gate.Lock()
	r.wantedWait = max(0, min(d, maxMaxWait))
	r.unlockAndNotify(!r.complete)
}

// Reject refuses the flow: what has not been read is dropped, and the sender's calls fail with a [*RejectedError]
// carrying code, which must not exceed 2^62-1. Messages that are already acknowledged stay Delivered at the sender. It
// does not block, and has no effect at the sender if the whole flow has arrived already.
func (r *Receiver) Reject(code uint64) {
	r.gate.Lock()
	if !r.rejected { // else the machine has, and what is here is dropped all the same
		r.rejected, r.code = true, min(code, wire.MaxVarint)
		r.announceEnd()
	}
	r.taken = true
	var n uint64
	for r.queue.len() > 0 {
		msg := r.queue.pop()
		n += msg.cost()
		msg.Release()
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
	if r.reorder {
		r.reorder = false
		r.queue.sort()
	}
	if r.err == nil {
		r.err = err
	}
	r.announceEnd()
}
