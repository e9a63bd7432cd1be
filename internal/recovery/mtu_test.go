// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package recovery

import (
	"slices"
	"testing"
	"time"
)

// traffic sends full packets and probes over a path that carries packets of at most carries bytes, n round trips. It
// returns the sizes of the probes.
func (l *lab) traffic(n, carries int) (probes []int) {
	l.t.Helper()
	for range n {
		var arrived []uint64
		send := func(size int, probe bool) {
			if probe {
				l.SentProbe(l.now, l.pn, size)
			} else {
				l.Sent(l.now, l.pn, size, true, []uint64{l.pn})
			}
			if size <= carries {
				arrived = append(arrived, l.pn)
			}
			l.pn++
		}
		if size := l.MTUProbe(l.now); size > 0 {
			probes = append(probes, size)
			send(size, true)
			if more := l.MTUProbe(l.now); more != 0 {
				l.t.Fatalf("a probe of %d while one of %d is in flight", more, size)
			}
		}
		for range 5 {
			send(l.MaxPacket(), false)
		}
		send(100, false) // something gets through in any case
		l.advance(20 * ms)
		var ranges []uint64
		slices.Reverse(arrived)
		for _, pn := range arrived {
			if k := len(ranges); k > 0 && ranges[k-2] == pn+1 {
				ranges[k-2] = pn
			} else {
				ranges = append(ranges, pn, pn)
			}
		}
		l.ack(ranges...)
	}
	return probes
}

// TestMTU: the largest packet that a path carries is found, at the cost of few probes, and nobody mistakes their loss.
// RFC 8899.
func TestMTU(t *testing.T) {
	for _, test := range []struct {
		limit, carries, want, probes int
	}{
		{0, 9000, 1200, 0},
		{1200, 9000, 1200, 0},
		{1472, 1472, 1472, 1},
		{1472, 1452, 1452, 5},
		{1472, 1300, 1280, 10},
		{1472, 1200, 1200, 12},
		{1400, 1400, 1400, 1},
		{8952, 1472, 1472, 10},
		{8952, 8952, 8952, 4},
		{65507, 65507, 65507, 5},
		{65507, 2100, 2048, 13},
	} {
		l := newLab(t, Config[uint64]{})
		l.path.cc.HandleAck(l.now, ackOf(1<<20)) // a window that has room for the largest
		cc := l.cc
		l.ResetPath(l.now, Info{MaxPacket: test.limit})
		l.path.cc, l.cc = cc, cc
		probes := l.traffic(60, test.carries)
		if l.MaxPacket() != test.want || len(probes) > test.probes {
			t.Errorf("limit %d, path %d: found %d by probes of %v; want %d by %d", test.limit, test.carries, l.MaxPacket(), probes, test.want, test.probes)
		}
		if l.stats.Lost != 0 || len(l.cc.losses) != 0 || l.InFlight() != 0 {
			t.Errorf("limit %d, path %d: %d lost, controller told of %v, %d in flight; want nothing of the probes",
				test.limit, test.carries, l.stats.Lost, l.cc.losses, l.InFlight())
		}
		if test.want > 1200 && l.cc.packet != test.want {
			t.Errorf("the controller knows packets of %d bytes, want %d", l.cc.packet, test.want)
		}
		if more := l.traffic(20, test.carries); len(more) > 0 {
			t.Errorf("limit %d, path %d: probes of %v after the search", test.limit, test.carries, more)
		}
		l.advance(mtuRaise)
		if more := l.traffic(60, max(test.limit, 1200)); test.limit > test.want && (l.MaxPacket() != test.limit || len(more) == 0) {
			t.Errorf("limit %d: found %d ten minutes later, when the path had grown", test.limit, l.MaxPacket())
		}
	}
}

// TestMTUBlackHole: a path that stops carrying large packets is noticed by their loss. RFC 8899 §4.3.
func TestMTUBlackHole(t *testing.T) {
	l := newLab(t, Config[uint64]{})
	l.ResetPath(l.now, Info{MaxPacket: 1472})
	l.traffic(5, 1472)
	if l.MaxPacket() != 1472 {
		t.Fatalf("found %d", l.MaxPacket())
	}
	if l.traffic(3, 1300); l.MaxPacket() != 1200 || l.cc.packet != 1200 {
		t.Fatalf("packets of %d after three round trips of a path that carries 1300, want 1200", l.MaxPacket())
	}
	if l.traffic(20, 1300); l.MaxPacket() != 1280 {
		t.Errorf("found %d then, want 1280", l.MaxPacket())
	}
	if l.traffic(3, 1220); l.MaxPacket() != 1200 {
		t.Fatalf("packets of %d after three round trips of a path that carries 1220, want 1200", l.MaxPacket())
	}
	if probes := l.traffic(20, 1300); len(probes) > 0 {
		t.Errorf("probes of %v after the second black hole, want them later", probes)
	}
	l.advance(mtuRecover)
	if l.traffic(60, 1300); l.MaxPacket() != 1280 {
		t.Errorf("found %d later, want 1280", l.MaxPacket())
	}
}

// TestMTURandomLoss: a path that loses one packet in three does not look like a black hole.
func TestMTURandomLoss(t *testing.T) {
	l := newLab(t, Config[uint64]{})
	l.ResetPath(l.now, Info{MaxPacket: 1472})
	l.traffic(5, 1472)
	for range 200 {
		first := l.pn
		l.sendSize(6, 1472)
		l.advance(20 * ms)
		l.ack(first+5, first+5, first+2, first+3)
	}
	if l.MaxPacket() != 1472 || l.stats.Lost < 300 {
		t.Errorf("packets of %d after %d losses, want 1472", l.MaxPacket(), l.stats.Lost)
	}
}

// TestMTUIdle: nothing is probed for without a measurement, while little is sent, or in an outage.
func TestMTUIdle(t *testing.T) {
	l := newLab(t, Config[uint64]{})
	l.ResetPath(l.now, Info{MaxPacket: 1472})
	l.send(10)
	if n := l.MTUProbe(l.now); n != 0 {
		t.Errorf("probe of %d before anything arrived", n)
	}
	l.advance(20 * ms)
	l.ack(0, 1)
	for range 100 {
		l.sendSize(1, 200)
		l.advance(time.Second)
		l.ack(l.pn-1, l.pn-1)
		if n := l.MTUProbe(l.now); n != 0 {
			t.Fatalf("probe of %d for packets of 200 bytes", n)
		}
	}
	l.traffic(2, 1472)
	l.ResetPath(l.now, Info{MaxPacket: 1472})
	for range 3 {
		l.send(1)
		l.advance(20 * ms)
		l.ack(l.pn-1, l.pn-1)
	}
	if n := l.MTUProbe(l.now); n == 0 {
		t.Error("no probe though full packets arrive")
	}
	if n := l.MTUProbe(l.now.Add(time.Minute)); n != 0 {
		t.Errorf("probe of %d after a minute of silence", n)
	}
	l.send(1)
	l.now = l.NextTimeout()
	l.HandleTimeout(l.now)
	if n := l.MTUProbe(l.now); n != 0 {
		t.Errorf("probe of %d while nothing is heard", n)
	}
}

// TestMTUProbeAlone: a probe neither keeps timers nor holds memory once nothing else is sent.
func TestMTUProbeAlone(t *testing.T) {
	l := newLab(t, Config[uint64]{})
	l.ResetPath(l.now, Info{MaxPacket: 1472})
	l.traffic(1, 1472)
	l.SentProbe(l.now, l.pn, l.MTUProbe(l.now))
	l.pn++
	if at := l.NextTimeout(); !at.IsZero() {
		t.Errorf("a timeout after %v for a probe", at.Sub(l.now))
	}
	for range 100 { // acknowledgements
		l.Sent(l.now, l.pn, 40, false, []uint64{l.pn})
		l.pn++
		l.advance(100 * ms)
	}
	if l.Tracked() != 0 {
		t.Errorf("%d packets remembered", l.Tracked())
	}
	if l.traffic(20, 1472); l.MaxPacket() != 1472 {
		t.Errorf("found %d after a probe was given up", l.MaxPacket())
	}
}
