// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package traffic

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/flow"
	"github.com/seed-98f0d4c2/runnel/peer"
)

// A Flow is one flow, from its sender and to its receiver. The exported fields must not change once it has started.
type Flow struct {
	From    int    // which end sends
	Label   string // no two flows from one end have the same
	Size    int    // of a message in bytes, at least 8
	Every   time.Duration
	Delay   time.Duration // before the first message
	Options flow.Options  // its Ordering says whether order is an error to miss

	mu       sync.Mutex
	sent     uint64
	receipts []*flow.Receipt
	at       []time.Time // when messages were received
	seen     map[uint64]bool
	broken   string // what should not have been
}

// A Load is the flows between two ends.
type Load struct {
	t     testing.TB
	ends  [2]*peer.Session
	flows []*Flow
	stop  context.CancelFunc
	wg    sync.WaitGroup
}

// Start starts flows between the two ends of a session. It takes all flows that either of them accepts.
func Start(t testing.TB, ends [2]*peer.Session, flows []*Flow) *Load {
	l := &Load{t: t, ends: ends, flows: flows}
	var ctx context.Context
	ctx, l.stop = context.WithCancel(t.Context())
	for _, f := range flows {
		f.seen = make(map[uint64]bool)
	}
	for end := range ends {
		l.wg.Go(func() { l.accept(end) })
	}
	for _, f := range flows {
		l.wg.Go(func() { l.send(ctx, f) })
	}
	return l
}

// send sends messages of a flow until ctx ends.
func (l *Load) send(ctx context.Context, f *Flow) {
	out, err := l.ends[f.From].OpenFlow(f.Label, &f.Options)
	if err != nil {
		f.fail("open: %v", err)
		return
	}
	time.Sleep(f.Delay)
	for ctx.Err() == nil {
		b := make([]byte, f.Size)
		binary.BigEndian.PutUint64(b, f.sent)
		receipt, err := out.Send(l.t.Context(), b)
		if err != nil {
			f.fail("message %d not sent: %v", f.sent, err)
			return
		}
		f.mu.Lock()
		f.sent++
		f.receipts = append(f.receipts, receipt)
		f.mu.Unlock()
		time.Sleep(f.Every)
	}
	if err := out.Close(l.t.Context()); err != nil {
		f.fail("close: %v", err)
	}
}

func (f *Flow) fail(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken == "" {
		f.broken = fmt.Sprintf(format, args...)
	}
}

// accept takes the flows that come to an end.
func (l *Load) accept(end int) {
	for {
		in, err := l.ends[end].AcceptFlow(l.t.Context())
		if err != nil {
			return
		}
		for _, f := range l.flows {
			if f.From != end && f.Label == in.Label() {
				l.wg.Go(func() { f.receive(l.t.Context(), in) })
			}
		}
	}
}

func (f *Flow) receive(ctx context.Context, in *flow.Receiver) {
	for m, err := range in.Messages(ctx) {
		if err != nil {
			f.fail("receive: %v", err)
			return
		}
		n := binary.BigEndian.Uint64(m.Data)
		f.mu.Lock()
		next, again := uint64(len(f.at)), f.seen[n]
		f.at = append(f.at, time.Now())
		f.seen[n] = true
		f.mu.Unlock()
		if again || f.Options.Ordering == flow.Ordered && n != next || len(m.Data) != f.Size {
			f.fail("message %d of %d bytes came as number %d (again: %v)", n, len(m.Data), next, again)
		}
		m.Release()
	}
}

// Gap returns the longest time in which nothing arrived on a flow, of those that began between start and end and reached
// beyond start.
func (l *Load) Gap(from int, label string, start, end time.Time) (longest time.Duration) {
	for _, f := range l.flows {
		if f.From != from || f.Label != label {
			continue
		}
		f.mu.Lock()
		last := start
		for _, at := range append(slices.Clip(f.at), time.Now()) {
			if at.After(start) && last.Before(end) {
				longest = max(longest, at.Sub(last))
				last = at
			}
		}
		f.mu.Unlock()
	}
	return longest
}

// Check ends the flows and sees to it that every message was delivered once, and that no error was seen.
func (l *Load) Check() {
	l.t.Helper()
	l.stop()
	time.Sleep(5 * time.Second)
	for _, f := range l.flows {
		f.mu.Lock()
		if f.broken != "" {
			l.t.Errorf("%s from end %d: %s", f.Label, f.From, f.broken)
		}
		if n := uint64(len(f.at)); n != f.sent || n == 0 {
			l.t.Errorf("%s from end %d: %d of %d messages arrived", f.Label, f.From, n, f.sent)
		}
		for i, receipt := range f.receipts {
			if o := receipt.Outcome(); o != flow.Delivered {
				l.t.Errorf("%s from end %d: the receipt of message %d says %v", f.Label, f.From, i, o)
				break
			}
		}
		f.mu.Unlock()
	}
	for i, s := range l.ends {
		if err := s.Err(); err != nil {
			l.t.Errorf("end %d: the session ended with %v", i, err)
		}
	}
}

// End ends the session, and with it what is left of the flows.
func (l *Load) End() {
	for _, s := range l.ends {
		s.Abort(peer.CodeClosed, "")
	}
	l.wg.Wait()
}
