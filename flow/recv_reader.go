// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"context"
	"errors"
	"fmt"
	"io"
)

var (
	errReaderReplaced = errors.New("flow: another NextReader has been called")
	errReaderOrder    = errors.New("flow: NextReader on a flow that is not in order; see SetOrdering")
)

// A MessageReader reads one message of any length, whether the sender sent it as a whole or in parts with
// [Sender.Writer]. It is an io.Reader and an io.WriterTo, to be used by one goroutine at a time.
//
// What has not arrived takes no memory and what has been read is freed, so that the flow's window bounds what a message
// takes, however long it is.
type MessageReader struct {
	r    *Receiver
	ctx  context.Context //nolint:containedctx // io.Reader has no place for it
	msg  Message         // being read; its Data is what is left
	data []byte
	seq  uint64
	err  error
}

// NextReader waits for the next message and returns a reader of it. ctx bounds this wait and those of the reader's
// methods. What an earlier reader has left of its message is dropped, and that reader fails. The errors are those of
// Recv; besides, NextReader fails on a flow that is not [Ordered], where parts would be
// mixed up or missing. A message that is being read when the order changes to [Latest] is not cut off.
//
// If a part of the message is missing because the sender has abandoned it, the reader's error matches
// io.ErrUnexpectedEOF and [ErrAbandoned]. If the flow ends within the message, it matches io.ErrUnexpectedEOF and the
// reason, an [*AbortedError] for example.
func (r *Receiver) NextReader(ctx context.Context) (*MessageReader, error) {
	for {
		r.gate.Lock()
		ordered := r.wanted == Ordered
		r.gate.Unlock(r.readable())
		if !ordered {
			return nil, errReaderOrder
		}
		if err := r.gate.WaitAndLock(ctx); err != nil {
			return nil, err
		}
		if r.queue.len() == 0 {
			return nil, r.endAndUnlock()
		}
		front := r.queue.front()
		rest := r.goesOn && front.Seq == r.nextPart || front.cut && (r.dropping || front.Seq != r.nextPart)
		mr := &MessageReader{r: r, ctx: ctx}
		r.reader = mr
		mr.msg = r.popAndUnlock()
		if rest { // of a message given up
			mr.msg.Release()
			continue
		}
		mr.data, mr.seq = mr.msg.Data, mr.msg.Seq
		return mr, nil
	}
}

// Seq returns the number of the message, or of its first part.
func (mr *MessageReader) Seq() uint64 { return mr.seq }

// next waits for data and fails if there is none.
func (mr *MessageReader) next() error {
	for len(mr.data) == 0 && mr.err == nil {
		if !mr.msg.More {
			mr.err = io.EOF
			break
		}
		if err := mr.nextPart(); err != nil {
			if errors.Is(err, mr.ctx.Err()) && mr.ctx.Err() != nil {
				return err
			}
			mr.err = err
		}
	}
	if len(mr.data) > 0 {
		return nil
	}
	mr.msg.Release()
	return mr.err
}

// nextPart waits for the part that follows mr.msg.
func (mr *MessageReader) nextPart() error {
	r := mr.r
	r.gate.Lock()
	replaced := r.reader != mr
	r.gate.Unlock(r.readable())
	if replaced {
		return errReaderReplaced
	}
	if err := r.gate.WaitAndLock(mr.ctx); err != nil {
		return err
	}
	switch {
	case r.reader != mr:
		r.gate.Unlock(r.readable())
		return errReaderReplaced
	case r.queue.len() == 0:
		err := r.endAndUnlock()
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("flow: message cut off: %w", io.ErrUnexpectedEOF)
		}
		return fmt.Errorf("flow: message cut off: %w: %w", io.ErrUnexpectedEOF, err)
	case r.queue.front().Seq != mr.msg.Seq+1 || r.queue.front().cut:
		r.goesOn, r.dropping = false, true
		finished := r.finish()
		r.unlockAndNotify(finished)
		return fmt.Errorf("flow: message cut off: %w: %w", io.ErrUnexpectedEOF, ErrAbandoned)
	}
	mr.msg.Release()
	mr.msg = r.popAndUnlock()
	mr.data = mr.msg.Data
	return nil
}

// Read reads up to len(p) bytes of the message. It returns io.EOF at its end.
func (mr *MessageReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := mr.next(); err != nil {
		return 0, err
	}
	n := copy(p, mr.data)
	mr.data = mr.data[n:]
	return n, nil
}

// WriteTo writes the rest of the message to w.
func (mr *MessageReader) WriteTo(w io.Writer) (n int64, err error) {
	for {
		if err := mr.next(); err != nil {
			if err == io.EOF { //nolint:errorlint // our own
				err = nil
			}
			return n, err
		}
		k, err := w.Write(mr.data)
		n += int64(k)
		mr.data = mr.data[k:]
		if err == nil && len(mr.data) > 0 {
			err = io.ErrShortWrite
		}
		if err != nil {
			return n, err
		}
	}
}
