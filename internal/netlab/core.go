// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package netlab

import (
	"bytes"
	"container/heap"
	"sync/atomic"
	"time"
)

// maxInbox bounds the packets that wait for the core, maxFlight those on their way through it.
const (
	maxInbox  = 1 << 16
	maxFlight = 1 << 18

	keptCapacity = 1 << 12 // of the queues, so that tests that measure the heap do not find yesterday's burst there
)

// Stats counts packets at the core since the network began.
type Stats struct {
	Entered    uint64 // came from a site or were injected
	Delivered  uint64 // left for the receiver's NAT
	Lost       uint64 // by a link's Loss, or for any reason by conditions
	Tapped     uint64 // dropped by a tap
	Duplicated uint64 // doubled by a tap
	Unroutable uint64 // to an address that nobody has
	Overflow   uint64 // more packets under way than the core holds
}

type counters struct {
	entered, delivered, lost, tapped, duplicated, unroutable, overflow atomic.Uint64
}

// Stats returns the counters.
func (n *Network) Stats() Stats {
	c := &n.stats
	return Stats{
		Entered:    c.entered.Load(),
		Delivered:  c.delivered.Load(),
		Lost:       c.lost.Load(),
		Tapped:     c.tapped.Load(),
		Duplicated: c.duplicated.Load(),
		Unroutable: c.unroutable.Load(),
		Overflow:   c.overflow.Load(),
	}
}

// inbound is a packet that has reached the core and is not yet on its way out.
type inbound struct {
	packet   Packet
	from     *site // nil when injected
	injected bool
	tcp      *segment
	local    node // takes it at once: it has come by no link
}

// flight is a packet on its way to a site.
type flight struct {
	at     time.Time
	seq    uint64 // order of entry, so that packets due at the same moment keep it
	to     *site
	packet Packet
	tcp    *segment
}

// core is the state of the core's goroutine.
type core struct {
	flows   map[flowKey]*flow
	flights flights
	seq     uint64
	bad     []*badLink // that hold packets, in the order in which they began to
}

// enter hands a packet to the core's goroutine. Sites call it with locks held.
func (n *Network) enter(in inbound) error {
	in.packet.Sent = time.Now()
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return ErrClosed
	}
	if in.local == nil {
		n.stats.entered.Add(1)
	}
	if len(n.inbox) >= maxInbox {
		n.mu.Unlock()
		n.stats.overflow.Add(1)
		return nil
	}
	n.inbox = append(n.inbox, in)
	n.mu.Unlock()
	select {
	case n.wake <- struct{}{}:
	default:
	}
	return nil
}

// hand gives a packet to a node that is no link away. What answers by itself gets it from the core's goroutine, so that
// two hosts that answer each other do not do so in ever deeper calls.
func (n *Network) hand(to node, m message) {
	if m.tcp == nil {
		to.take(m)
		return
	}
	_ = n.enter(inbound{packet: Packet{From: m.src, To: m.dst, Payload: m.payload}, tcp: m.tcp, local: to}) // closed: lost
}

// run is the core's goroutine: it takes packets in, lets taps judge them, and delivers them when they are due.
func (n *Network) run() {
	defer close(n.gone)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var batch []inbound
	for {
		n.mu.Lock()
		batch, n.inbox = n.inbox, batch[:0]
		n.mu.Unlock()
		for i := range batch {
			n.accept(&batch[i])
		}
		clear(batch)
		if cap(batch) > keptCapacity {
			batch = nil
		}

		var due <-chan time.Time
		if next := n.advance(time.Now()); !next.IsZero() {
			timer.Reset(time.Until(next))
			due = timer.C
		}
		select {
		case <-n.wake:
		case <-due:
		case <-n.done:
			return
		}
	}
}

// accept judges one packet and puts it on its way.
func (n *Network) accept(in *inbound) {
	if in.local != nil {
		in.local.take(message{in.packet.From, in.packet.To, in.packet.Payload, in.tcp})
		return
	}
	verdict := Pass
	if !in.injected && in.tcp == nil {
		n.mu.Lock()
		taps := n.taps
		n.mu.Unlock()
		for _, t := range taps {
			verdict = max(verdict, t.f(in.packet))
		}
	}
	switch verdict {
	case Pass:
		n.depart(in)
	case Duplicate:
		n.stats.duplicated.Add(1)
		n.depart(in)
		twin := *in
		twin.packet.Payload = bytes.Clone(in.packet.Payload)
		n.depart(&twin)
	default:
		n.stats.tapped.Add(1)
	}
}

// depart finds out where a packet goes to and sends it up its site's link.
func (n *Network) depart(in *inbound) {
	n.mu.Lock()
	to := n.byAddr[in.packet.To.Addr()]
	n.mu.Unlock()
	if to == nil {
		n.stats.unroutable.Add(1)
		return
	}
	t := transit{in: *in, to: to}
	if in.from == nil || !n.hold(&in.from.up, t) {
		n.cross(t)
	}
}

// launch puts a packet on its way through the two links' delay, unless one of them loses it.
func (n *Network) launch(t transit) {
	in, to := &t.in, t.to
	key, up := flowKey{from: -1, to: to.number}, (*link)(nil)
	if in.from != nil {
		key.from, up = in.from.number, &in.from.link
	}
	f := n.core.flows[key]
	if f == nil {
		f = newFlow(n.cfg.Seed, key)
		n.core.flows[key] = f
	}
	delay, ok := f.pass(up, &to.link)
	if !ok {
		n.stats.lost.Add(1)
		return
	}
	if len(n.core.flights) >= maxFlight {
		n.stats.overflow.Add(1)
		return
	}
	n.core.seq++
	at := t.left
	if at.IsZero() {
		at = in.packet.Sent
	}
	heap.Push(&n.core.flights, flight{at: at.Add(delay), seq: n.core.seq, to: to, packet: in.packet, tcp: in.tcp})
}

// advance moves everything that is due, and returns when something will be, or zero if nothing is under way.
func (n *Network) advance(now time.Time) time.Time {
	for {
		n.release(now)
		next := n.deliver(now)
		if held := n.holding(); !held.IsZero() && (next.IsZero() || held.Before(next)) {
			next = held
		}
		if next.IsZero() || next.After(now) {
			return next
		}
	}
}

// deliver hands over what is due and returns when the next packet is, or zero if none is on its way.
func (n *Network) deliver(now time.Time) (next time.Time) {
	fs := &n.core.flights
	for len(*fs) > 0 {
		if f := &(*fs)[0]; f.at.After(now) {
			return f.at
		}
		f := fs.take()
		if t := (transit{in: inbound{packet: f.packet, tcp: f.tcp}, to: f.to}); !n.hold(&f.to.down, t) {
			n.arrive(t)
		}
	}
	return time.Time{}
}

// arrive hands a packet to the receiver's NAT.
func (n *Network) arrive(t transit) {
	n.stats.delivered.Add(1)
	p := &t.in.packet
	t.to.take(message{p.From, p.To, p.Payload, t.in.tcp})
}

// flights is a heap, the next one due first.
type flights []flight

func (f flights) Len() int { return len(f) }
func (f flights) Less(i, j int) bool {
	if f[i].at.Equal(f[j].at) {
		return f[i].seq < f[j].seq
	}
	return f[i].at.Before(f[j].at)
}
func (f flights) Swap(i, j int) { f[i], f[j] = f[j], f[i] }
func (f *flights) Push(x any)   { *f = append(*f, x.(flight)) } //nolint:forcetypeassert // only launch pushes
func (f *flights) Pop() any {
	old := *f
	last := old[len(old)-1]
	old[len(old)-1] = flight{}
	*f = old[:len(old)-1]
	return last
}

func (f *flights) take() flight {
	next := heap.Pop(f).(flight) //nolint:forcetypeassert // only flights are in it
	if len(*f) == 0 && cap(*f) > keptCapacity {
		*f = nil
	}
	return next
}
