// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package recovery

import (
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

const farRTT = 333 * ms

// TestAckTiming checks when acknowledgements are sent. RFC 9000 §13.2.1.
func TestAckTiming(t *testing.T) {
	type event struct {
		at    time.Duration
		pn    uint64
		quiet bool // not ack-eliciting
		mark  wire.ECN
	}
	for _, test := range []struct {
		name   string
		rtt    time.Duration
		events []event
		want   time.Duration // when an acknowledgement is due after the last event
	}{
		{"one packet waits", farRTT, []event{{}}, 25 * ms},
		{"a quarter of a round trip", 40 * ms, []event{{}}, 10 * ms},
		{"not while nothing is measured", 0, []event{{}}, ms},
		{"a millisecond at least", 200 * time.Microsecond, []event{{}}, ms},
		{"the second does not", farRTT, []event{{}, {at: 3 * ms, pn: 1}}, 3 * ms},
		{"gap", farRTT, []event{{pn: 1}}, 0},
		{"late packet", farRTT, []event{{quiet: true}, {pn: 2, quiet: true}, {at: 5 * ms, pn: 1}}, 5 * ms},
		{"congestion", farRTT, []event{{mark: wire.CE}}, 0},
		{"a mark is no reason", farRTT, []event{{mark: wire.ECT0}}, 25 * ms},
		{"nothing asks", farRTT, []event{{quiet: true}, {pn: 5, quiet: true}}, -1},
	} {
		t.Run(test.name, func(t *testing.T) {
			var a Acks
			for _, e := range test.events {
				a.Received(epoch.Add(e.at), e.pn, !e.quiet, e.mark, test.rtt)
			}
			got := time.Duration(-1)
			if at := a.NextTimeout(); !at.IsZero() {
				got = at.Sub(epoch)
			}
			if got != test.want {
				t.Errorf("due after %v, want %v", got, test.want)
			}
		})
	}
}

// receive feeds n packets of a steady rate to a and returns how many acknowledgements that made and how long the sender
// waited for one at most.
func receive(a *Acks, now *time.Time, pn *uint64, n int, each, rtt time.Duration) (acks int, longest time.Duration) {
	last := *now
	ack := func(at time.Time) {
		if _, ok := a.Append(at, nil, 1200); ok {
			a.Sent(true)
			acks++
			longest = max(longest, at.Sub(last))
			last = at
		}
	}
	for range n {
		next := now.Add(each)
		if due := a.NextTimeout(); !due.IsZero() && due.Before(next) {
			ack(due)
		}
		*now = next
		a.Received(*now, *pn, true, wire.NotECT, rtt)
		*pn++
		if a.IsDue(*now) {
			ack(*now)
		}
	}
	return acks, longest
}

// TestAckFrequency: one for every second packet, until many arrive in order in a round trip; then rarer, yet several in a
// round trip; and at once back after a loss.
func TestAckFrequency(t *testing.T) {
	for _, test := range []struct {
		name      string
		each, rtt time.Duration
		every     int
	}{
		{"fast", 20 * time.Microsecond, 20 * ms, maxAckEvery},
		{"small window", 2 * ms, 20 * ms, 2},
		{"medium", 250 * time.Microsecond, 20 * ms, 2},
		{"long", 250 * time.Microsecond, 100 * ms, 12},
		{"loopback", 5 * time.Microsecond, 100 * time.Microsecond, 6},
		{"slow", 30 * ms, 20 * ms, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			var a Acks
			now, pn := epoch, uint64(0)
			if n, _ := receive(&a, &now, &pn, 50, test.each, test.rtt); n < 25 {
				t.Errorf("%d acknowledgements of the first 50 packets, want one for two", n)
			}
			receive(&a, &now, &pn, 20_000, test.each, test.rtt)
			const n = 4800
			got, longest := receive(&a, &now, &pn, n, test.each, test.rtt)
			if want := n / test.every; got < want*9/10 || got > want*11/10 {
				t.Errorf("%d acknowledgements of %d packets, want one for %d", got, n, test.every)
			}
			if most := min(max(test.rtt/ackDelayPart, ms), wire.MaxAckDelay) + test.each; longest > most {
				t.Errorf("%v without an acknowledgement, want at most %v", longest, most)
			}
			pn++ // a loss
			if got, _ := receive(&a, &now, &pn, steadyPackets, test.each, test.rtt); got < steadyPackets/2 {
				t.Errorf("%d acknowledgements of %d packets after a loss, want one for two", got, steadyPackets)
			}
		})
	}
}

// TestAckFrequencyInSlowStart: a sender that doubles its window hears of every second packet.
func TestAckFrequencyInSlowStart(t *testing.T) {
	var a Acks
	now, pn := epoch, uint64(0)
	const rtt = 20 * ms
	for n := 10; n < 5000; n *= 2 { // a window per round trip
		got, _ := receive(&a, &now, &pn, n, rtt/time.Duration(n), rtt)
		if got < n*4/10 {
			t.Errorf("%d acknowledgements of a window of %d, want one for two packets", got, n)
		}
	}
}

// TestAckContents: ranges, delay and marks. RFC 9000 §13.2.3, §13.2.5, §13.4.1.
func TestAckContents(t *testing.T) {
	var a Acks
	for i, pn := range []uint64{0, 1, 4, 5, 3} {
		a.Received(epoch.Add(time.Duration(i)*ms), pn, true, wire.NotECT, farRTT)
	}
	parse := func(at time.Duration) (ack wire.Ack) {
		t.Helper()
		b, ok := a.Append(epoch.Add(at), nil, 1200)
		typ, body, _, err := wire.NextChunk(b)
		if !ok || err != nil {
			t.Fatalf("%x: %v, %v", b, ok, err)
		}
		if err := ack.Parse(typ, body); err != nil {
			t.Fatal(err)
		}
		return ack
	}
	ack := parse(10 * ms)
	if len(ack.Ranges) != 2 || ack.Ranges[0] != (wire.AckRange{Start: 3, End: 6}) || ack.Ranges[1] != (wire.AckRange{Start: 0, End: 2}) {
		t.Errorf("ranges %v, want 3–5 and 0–1", ack.Ranges)
	}
	if ack.Delay != 7*ms || ack.HasECN {
		t.Errorf("delay %v, marks %v; want that of packet 5, which came at 3 ms, and none", ack.Delay, ack.ECN)
	}
	for i, mark := range []wire.ECN{wire.ECT0, wire.CE, wire.ECT0, wire.ECT1, wire.NotECT} {
		a.Received(epoch, uint64(6+i), true, mark, farRTT)
	}
	a.Known(5)
	ack = parse(0)
	if len(ack.Ranges) != 1 || ack.Ranges[0] != (wire.AckRange{Start: 5, End: 11}) {
		t.Errorf("ranges %v after the peer knew of 5, want 5–10", ack.Ranges)
	}
	if want := (wire.ECNCounts{ECT0: 2, ECT1: 1, CE: 1}); !ack.HasECN || ack.ECN != want {
		t.Errorf("marks %v, want %v", ack.ECN, want)
	}
	for pn := range uint64(1000) {
		a.Received(epoch, 100+2*pn, true, wire.NotECT, farRTT)
	}
	if a.Ranges() > wire.MaxAckRanges {
		t.Errorf("%d ranges remembered", a.Ranges())
	}
}

// Acknowledgements that keep going along with answers are put off for longer, until one has to go alone.
func TestAcksRideAlong(t *testing.T) {
	var a Acks
	now, pn := epoch, uint64(0)
	delay := func() time.Duration {
		a.Received(now, pn, true, wire.NotECT, 100*time.Microsecond)
		pn++
		return a.NextTimeout().Sub(now)
	}
	for i := range rideAlong {
		if d := delay(); d != minAckDelay {
			t.Errorf("answer %d: the acknowledgement may wait %v, want %v", i, d, minAckDelay)
		}
		a.Sent(false)
		now = now.Add(30 * time.Microsecond)
	}
	if d := delay(); d != wire.MaxAckDelay {
		t.Errorf("after %d answers: %v, want %v", rideAlong, d, wire.MaxAckDelay)
	}
	a.Sent(false)
	a.Received(now, pn, true, wire.NotECT, 0)
	pn++
	if d := a.NextTimeout().Sub(now); d != minAckDelay {
		t.Errorf("after %d answers, without a measurement: %v, want %v", rideAlong+1, d, minAckDelay)
	}
	a.Sent(true)
	if d := delay(); d != minAckDelay {
		t.Errorf("after one that went alone: %v, want %v", d, minAckDelay)
	}
}
