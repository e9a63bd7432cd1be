// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mobilitylab

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/seed-98f0d4c2/runnel/flow"
	"github.com/seed-98f0d4c2/runnel/peer"
)

// tick is how often the flows send whose gaps are measured.
const tick = 20 * ms

// traffic is one flow, from its sender and to its receiver.
type traffic struct {
	from  int // which end sends
	label string
	size  int
	every time.Duration

	mu       sync.Mutex
	sent     uint64
	receipts []*flow.Receipt
	at       []time.Time // when messages were received
	seen     map[uint64]bool
	broken   string // what should not have been
}

// start starts the flows: ticks are messages of 100 bytes handed over as they arrive, bulk is 3 Mbit/s in order.
func (r *rig) start() {
	var ctx context.Context
	ctx, r.stop = context.WithCancel(r.t.Context())
	for end := range r.ends {
		r.flows = append(r.flows,
			&traffic{from: end, label: "ticks", size: 100, every: tick, seen: make(map[uint64]bool)},
			&traffic{from: end, label: "bulk", size: 16 << 10, every: 40 * ms, seen: make(map[uint64]bool)})
		r.wg.Go(func() { r.accept(end) })
	}
	for _, f := range r.flows {
		if r.light {
			f.every *= 8
		}
		r.wg.Go(func() { r.send(ctx, f) })
	}
}

// send sends messages of a flow until ctx ends.
func (r *rig) send(ctx context.Context, f *traffic) {
	var o flow.Options
	if f.label == "ticks" {
		o.Priority, o.Ordering = flow.Urgent, flow.Arrival
	}
	out, err := r.ends[f.from].OpenFlow(f.label, &o)
	if err != nil {
		f.fail("open: %v", err)
		return
	}
	time.Sleep(time.Duration(f.from) * f.every / 2)
	for ctx.Err() == nil {
		b := make([]byte, f.size)
		binary.BigEndian.PutUint64(b, f.sent)
		receipt, err := out.Send(r.t.Context(), b)
		if err != nil {
			f.fail("message %d not sent: %v", f.sent, err)
			return
		}
		f.mu.Lock()
		f.sent++
		f.receipts = append(f.receipts, receipt)
		f.mu.Unlock()
		time.Sleep(f.every)
	}
	if err := out.Close(r.t.Context()); err != nil {
		f.fail("close: %v", err)
	}
}

func (f *traffic) fail(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken == "" {
		f.broken = fmt.Sprintf(format, args...)
	}
}

// accept takes the flows that come to an end.
func (r *rig) accept(end int) {
	for {
		in, err := r.ends[end].AcceptFlow(r.t.Context())
		if err != nil {
			return
		}
		for _, f := range r.flows {
			if f.from != end && f.label == in.Label() {
				r.wg.Go(func() { f.receive(r.t.Context(), in) })
			}
		}
	}
}

func (f *traffic) receive(ctx context.Context, in *flow.Receiver) {
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
		if again || f.label == "bulk" && n != next || len(m.Data) != f.size {
			f.fail("message %d of %d bytes came as number %d (again: %v)", n, len(m.Data), next, again)
		}
		m.Release()
	}
}

// gaps returns, for the ticks from each end, the longest time in which nothing arrived, of those that began between start
// and end.
func (r *rig) gaps(start, end time.Time) (out [2]time.Duration) {
	for _, f := range r.flows {
		if f.label != "ticks" {
			continue
		}
		f.mu.Lock()
		last := start
		for _, at := range append(slices.Clip(f.at), time.Now()) {
			if at.After(start) && last.Before(end) {
				out[f.from] = max(out[f.from], at.Sub(last))
				last = at
			}
		}
		f.mu.Unlock()
	}
	return out
}

// finish ends the traffic and sees to it that every message was delivered once, and no error was seen.
func (r *rig) finish() {
	r.t.Helper()
	r.stop()
	time.Sleep(5 * time.Second)
	for _, f := range r.flows {
		f.mu.Lock()
		if f.broken != "" {
			r.t.Errorf("%s from end %d: %s", f.label, f.from, f.broken)
		}
		if n := uint64(len(f.at)); n != f.sent || n == 0 {
			r.t.Errorf("%s from end %d: %d of %d messages arrived", f.label, f.from, n, f.sent)
		}
		for i, receipt := range f.receipts {
			if o := receipt.Outcome(); o != flow.Delivered {
				r.t.Errorf("%s from end %d: the receipt of message %d says %v", f.label, f.from, i, o)
				break
			}
		}
		f.mu.Unlock()
	}
	for i, s := range r.ends {
		if err := s.Err(); err != nil {
			r.t.Errorf("end %d: the session ended with %v", i, err)
		}
		if n := r.eps[i].Stats().Sessions; n != 1 {
			r.t.Errorf("end %d: %d sessions, want the one there was", i, n)
		}
		s.Abort(peer.CodeClosed, "")
	}
	r.wg.Wait()
}
