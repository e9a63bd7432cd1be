// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"context"
	"errors"
	"io"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// maxPart is the largest part of a message that is written.
const maxPart = 64 << 10

// A MessageWriter sends one message in parts, of any length in all, which need never be in memory as a whole. The peer
// reads it with Receiver.NextReader; Receiver.Recv returns its parts, all but the last marked Message.More. Parts are
// always reliable, and each counts as a message in Message.Seq and in stats.
//
// A message that has been begun must be ended. If it cannot be, because a Write failed, the message is cut off, and
// that aborts the flow: there is no other way to tell the peer that what it has is not the whole.
//
// Only Abort may be called while another method is in progress.
type MessageWriter struct {
	s       *Sender
	ctx     context.Context //nolint:containedctx // io.Writer passes none
	turn    chan struct{}   // closed when Send may go on; nil: not begun
	stream  partStream
	receipt *Receipt
	parts   int   // sent; protected by the flow's gate
	aborted bool  // nothing more is to be; likewise
	err     error // why nothing more may be written
	over    bool  // Close has been called
	whole   bool  // and has sent the last part
}

// A partStream is what the loop knows of a message in parts.
type partStream struct {
	left  int  // parts taken over whose fate is open
	whole bool // the last has been delivered
}

// settled notes the fate of a part and reports whether it is that of the message.
func (ps *partStream) settled(o Outcome, more bool) bool {
	ps.left--
	ps.whole = ps.whole || !more
	return o == Abandoned || ps.whole && ps.left == 0
}

// Writer returns a writer for one message. From its first Write, which waits until no other message is being written,
// to the end of the message, Send and other writers wait. ctx bounds the waiting of all its methods.
func (s *Sender) Writer(ctx context.Context) *MessageWriter { return &MessageWriter{s: s, ctx: ctx} }

// Write sends p, which it copies, in parts of 64 KiB or less. It blocks while there is no room for a part, as Send does.
// What it takes is sent at once: put a bufio.Writer in front of many small writes. If it fails the message is cut off.
func (w *MessageWriter) Write(p []byte) (int, error) {
	if w.over {
		return 0, errWriterOver
	}
	n := 0
	for n < len(p) {
		k := min(len(p)-n, w.partSize())
		if err := w.begin(); err != nil {
			return n, err
		}
		if err := w.send(copyBuffer(p[n:n+k]), true); err != nil {
			return n, err
		}
		n += k
	}
	return n, nil
}

// Close ends the message, which is empty if nothing was written. It does not wait for the peer: see Receipt. After a
// Write that failed it aborts the flow, unless nothing had been sent, and returns the error of that Write. After Abort
// it fails. Closing again has no effect.
func (w *MessageWriter) Close() error {
	if w.over {
		return nil
	}
	w.over = true
	err := w.begin()
	if err == nil {
		err = w.send(copyBuffer(nil), false)
	}
	if err != nil {
		w.cutOff(uint64(wire.CodeFlowCutOff))
	}
	return err
}

// Abort cuts the message off: nothing more is written, and the flow is aborted with the code given, unless nothing of
// the message has been sent. It does not block. After the end of the message it has no effect.
func (w *MessageWriter) Abort(code uint64) { w.cutOff(code) }

// Receipt returns the receipt of the whole message once Close has returned nil, and nil before. Its Abandon and
// SetDeadline have no effect.
func (w *MessageWriter) Receipt() *Receipt {
	if !w.whole {
		return nil
	}
	return w.receipt
}

func (w *MessageWriter) partSize() int { return max(1, min(maxPart, w.s.m.maxMessage())) }

// begin waits for the writer's turn.
func (w *MessageWriter) begin() error {
	if w.err != nil || w.turn != nil {
		return w.err
	}
	s := w.s
	err := s.waitAndLock(w.ctx)
	if err == nil && w.aborted {
		s.gate.Unlock(s.writable())
		err = errWriterOver
	}
	if err != nil {
		w.err = err
		return err
	}
	w.turn = make(chan struct{})
	w.receipt = s.receipts.next()
	w.receipt.s = s
	s.writer = w
	s.gate.Unlock(s.writable())
	return nil
}

// send sends a part, which it takes over.
func (w *MessageWriter) send(b *buffer, more bool) error {
	s := w.s
	err := s.waitRoom(w.ctx)
	if err == nil {
		if err = s.err; err == nil && s.writer != w {
			err = errWriterOver
		}
		if err != nil {
			s.gate.Unlock(s.writable())
		}
	}
	if err != nil {
		b.free()
		w.err = err
		return err
	}
	x := termsPool.Get().(*terms)
	x.stream, x.more = &w.stream, more
	if !more {
		w.receipt.seq = s.sent
	}
	s.push(outgoing{b, w.receipt, x})
	w.parts++
	if !more {
		w.whole = true
		w.endTurn()
	}
	s.unlockAndNotify()
	return nil
}

// endTurn lets Send go on. The gate must be locked.
func (w *MessageWriter) endTurn() {
	s := w.s
	if s.writer != w {
		return
	}
	s.writer = nil
	close(w.turn)
	if s.closing && s.err == nil {
		s.err = ErrClosed
	}
}

// cutOff ends the writer's turn without an end of the message.
func (w *MessageWriter) cutOff(code uint64) {
	s := w.s
	s.gate.Lock()
	w.aborted = true
	cut := s.writer == w && w.parts > 0
	w.endTurn()
	s.unlockAndNotify()
	if cut {
		s.Abort(code)
	}
}

// SendFrom sends what r returns up to io.EOF as one message, in parts, as a [MessageWriter] does, and returns a receipt
// for the whole. ctx bounds its waiting for room in Options.SendBuffer, not r.
//
// If r fails, or ctx ends, before anything was sent, nothing has happened. Afterwards the message is cut off and the
// flow aborted. Either way SendFrom returns the error.
func (s *Sender) SendFrom(ctx context.Context, r io.Reader) (*Receipt, error) {
	w := s.Writer(ctx)
	for {
		size := w.partSize()
		b := newBuffer(size)
		n, err := io.ReadFull(r, b.b[:size])
		b.b = b.b[:n]
		last := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err == nil || last {
			if err = w.begin(); err == nil {
				err = w.send(b, !last)
			}
		}
		if err != nil {
			w.cutOff(uint64(wire.CodeFlowCutOff))
			return nil, err
		}
		if last {
			w.over = true
			return w.receipt, nil
		}
	}
}
