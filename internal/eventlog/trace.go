// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package eventlog

import (
	"io"
	"sync"
	"time"
)

const (
	maxBuffer = 256 << 10 // bytes of a trace that wait to be written
	maxEarly  = 32 << 10  // before it is attached
	maxSpare  = 16 << 10  // kept while there is nothing to write
	maxEvent  = 4 << 10   // bytes for which there must be room
)

// recordSeparator begins every record. RFC 7464 §2.2.
const recordSeparator = 0x1e

// A Trace is the log of one session. Its methods may be called from any goroutine and never wait for a writer. Those of
// a nil Trace do nothing.
type Trace struct {
	l     *Log
	start time.Time

	mu       sync.Mutex
	buf      []byte
	counted  int    // bytes of buf that the Log knows of
	events   uint64 // in buf
	dropped  uint64 // events since the file last said so
	total    uint64 // events dropped, ever
	last     time.Time
	attached bool
	queued   bool // the goroutine knows that there is something to do
	full     bool // the writer has failed: everything is dropped
	closed   bool // nothing is written any more, and nothing counted

	// Owned by the goroutine, but header and open, which are written before it is told.
	header Header
	open   func() (io.WriteCloser, error)
	w      io.WriteCloser
	spare  []byte
}

// A Header is what the first record of a file says.
type Header struct {
	Title  string
	Name   string // of the end that writes the log
	Client bool   // it began the session
	Group  string // what the logs of both ends have in common; empty: nothing
}

// NewTrace begins the log of a session. Events are kept, as far as there is room, until it is attached to a file.
func (l *Log) NewTrace(start time.Time) *Trace {
	if l == nil {
		return nil
	}
	return &Trace{l: l, start: start, last: start}
}

// Attach says where the log goes. open is called by the goroutine of the Log; if it returns neither a writer nor an
// error there is no log of this session. Only the first call counts.
func (t *Trace) Attach(h Header, open func() (io.WriteCloser, error)) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.attached || t.closed {
		return
	}
	t.attached, t.header, t.open = true, h, open
	t.enqueue()
}

// Event begins an event at a time. qlog names it, or the name begins with "runnel:".
func (t *Trace) Event(at time.Time, name string) Event {
	if t == nil {
		return Event{}
	}
	t.mu.Lock()
	limit := maxBuffer
	if !t.attached {
		limit = maxEarly
	}
	if t.closed || t.full || len(t.buf)+maxEvent > limit || !t.l.room() {
		if !t.closed {
			t.dropped++
			t.total++
		}
		t.mu.Unlock()
		return Event{}
	}
	t.begin(at, name)
	return Event{t}
}

// begin writes the beginning of an event.
func (t *Trace) begin(at time.Time, name string) {
	t.last = at
	b := append(t.buf, recordSeparator)
	b = append(b, `{"time":`...)
	b = appendFloat(b, millis(at.Sub(t.start)))
	b = append(b, `,"name":"`...)
	b = append(b, name...)
	t.buf = append(b, `","data":{`...)
}

// appended accounts for an event that has been written to the buffer.
func (t *Trace) appended() {
	t.events++
	t.account(len(t.buf))
	if t.attached {
		t.enqueue()
		if len(t.buf) >= maxBuffer/2 {
			t.l.hurry()
		}
	}
}

// account tells the Log how much is in the buffer.
func (t *Trace) account(n int) {
	t.l.held.Add(int64(n - t.counted))
	t.counted = n
}

func (t *Trace) enqueue() {
	if !t.queued {
		t.queued = true
		t.l.enqueue(t)
	}
}

// Dropped returns how many events have been dropped.
func (t *Trace) Dropped() uint64 {
	if t == nil {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.total
}

// Close ends the log. What is in the buffer is still written if it has been attached.
func (t *Trace) Close() {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	t.closed = true
	if t.attached {
		t.enqueue()
		return
	}
	t.buf = nil
	t.account(0)
}

// take empties the buffer, and says whether there will be nothing more.
func (t *Trace) take() (b []byte, events uint64, last bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.queued = false
	if t.dropped > 0 {
		t.begin(t.last, "runnel:events_dropped")
		Event{t}.Uint("count", t.dropped)
		t.buf = append(t.buf, "}}\n"...)
		t.dropped = 0
	}
	b, events = t.buf, t.events
	t.buf, t.events, t.spare = t.spare[:0], 0, nil
	t.account(0)
	return b, events, t.closed
}

// decline ends the log of a session of which none is wanted.
func (t *Trace) decline() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	t.buf, t.events = nil, 0
	t.account(0)
}

// giveUp makes the trace drop everything from now on.
func (t *Trace) giveUp(lost uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.full = true
	t.total += lost + t.events
	t.buf, t.events = nil, 0
	t.account(0)
}

// write opens the file if need be and writes what there is. The goroutine of the Log calls it.
func (t *Trace) write() {
	b, events, last := t.take()
	err := t.writeTo(b)
	if err != nil {
		t.giveUp(events)
		t.l.warn(err)
	}
	if t.w != nil && (last || err != nil) {
		if err := t.w.Close(); err != nil {
			t.l.warn(err)
		}
		t.w = nil
	}
	if cap(b) <= maxSpare {
		t.mu.Lock()
		t.spare = b[:0]
		t.mu.Unlock()
	}
}

func (t *Trace) writeTo(b []byte) error {
	if open := t.open; open != nil {
		t.open = nil
		w, err := open()
		if err != nil {
			return err
		}
		if w == nil {
			t.decline()
			return nil
		}
		t.w = w
		if _, err := w.Write(t.header.record(t.start)); err != nil {
			return err
		}
	}
	if t.w == nil || len(b) == 0 {
		return nil
	}
	_, err := t.w.Write(b)
	return err
}
