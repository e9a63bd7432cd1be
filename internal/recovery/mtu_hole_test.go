// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package recovery

import (
	"testing"
	"time"
)

// large returns a lab whose path is known to carry 1472 bytes, with a round-trip time of 20 ms.
func large(t *testing.T) *lab {
	t.Helper()
	l := newLab(t, Config[uint64]{})
	l.ResetPath(l.now, Info{MaxPacket: 1472})
	l.traffic(10, 1472)
	if l.MaxPacket() != 1472 {
		t.Fatalf("found %d", l.MaxPacket())
	}
	return l
}

// timeout lets a probe timeout expire and sends the probes it grants. It returns their sizes.
func (l *lab) timeout() (sizes [probesPerPTO]int) {
	l.t.Helper()
	l.now = l.NextTimeout()
	l.HandleTimeout(l.now)
	for i := range sizes {
		if !l.Probing() {
			l.t.Fatalf("%d probes granted", i)
		}
		sizes[i] = l.MaxPacket()
		l.sendSize(1, sizes[i])
	}
	return sizes
}

// TestMTUSurvivesOutages: silence alone says nothing of the packet size, however long: whoever did not run, or was cut
// off, for a few probe timeouts goes on as before.
func TestMTUSurvivesOutages(t *testing.T) {
	l := large(t)
	first := l.pn
	l.sendSize(3, 1472)
	for range 4 {
		l.timeout()
	}
	l.ack(first, l.pn-1) // the host did not run; everything had arrived
	if l.MaxPacket() != 1472 || l.path.mtu.blackHoles != 0 {
		t.Errorf("packets of %d, %d black holes after a pause in which all packets arrived, want 1472 and none",
			l.MaxPacket(), l.path.mtu.blackHoles)
	}

	l = large(t)
	l.sendSize(8, 1472)
	for range 4 {
		l.timeout()
	}
	first = l.pn
	l.timeout() // the path is back
	l.advance(20 * ms)
	l.ack(first, first+1)
	l.advance(20 * ms)
	l.HandleTimeout(l.now)
	if l.MaxPacket() != 1472 || l.path.mtu.blackHoles != 0 {
		t.Errorf("packets of %d, %d black holes after an outage, want 1472 and none", l.MaxPacket(), l.path.mtu.blackHoles)
	}
}

// TestMTUShrinks: a path that carries less all of a sudden is used again one probe timeout and a round trip later, and
// what it does carry is found soon after. RFC 8899 §4.3.
func TestMTUShrinks(t *testing.T) {
	l := large(t)
	start := l.now
	l.sendSize(8, 1472) // all of a window
	sizes := l.timeout()
	if sizes != [...]int{1472, 1200} {
		t.Fatalf("a probe timeout sends packets of %v, want one as large as before and one that every path carries", sizes)
	}
	l.advance(20 * ms)
	l.ack(l.pn-1, l.pn-1)
	l.advance(5 * ms)
	l.HandleTimeout(l.now)
	if l.MaxPacket() != 1200 || l.cc.packet != 1200 {
		t.Errorf("packets of %d after the small probe arrived and the large ones did not, want 1200", l.MaxPacket())
	}
	if took := l.now.Sub(start); took > 120*ms {
		t.Errorf("noticed after %v, want a probe timeout and a round trip", took)
	}
	if l.traffic(20, 1300); l.MaxPacket() != 1280 {
		t.Errorf("found %d in twenty round trips, want 1280", l.MaxPacket())
	}
}

// TestMTULoneMessages: a sender of one large packet at a time gets through, and learns.
func TestMTULoneMessages(t *testing.T) {
	l := large(t)
	start := l.now
	for l.MaxPacket() > 1300 {
		if l.now.Sub(start) > time.Second {
			t.Fatalf("packets of %d after a second", l.MaxPacket())
		}
		l.sendSize(1, l.MaxPacket())
		l.timeout()
		l.advance(20 * ms)
		l.ack(l.pn-1, l.pn-1)
		l.advance(10 * ms)
		l.HandleTimeout(l.now)
	}
}

// TestMTUWrongHole: large packets that are lost while small ones arrive look like a black hole. If they arrive after all,
// or a probe does, it was none; if it happens again soon, nothing is tried for a while.
func TestMTUWrongHole(t *testing.T) {
	l := large(t)
	first := l.pn
	l.sendSize(8, 1472)
	l.sendSize(3, 100)
	l.advance(20 * ms)
	l.ack(first+8, first+10)
	if l.MaxPacket() != 1200 {
		t.Fatalf("packets of %d, want 1200", l.MaxPacket())
	}
	if probes := l.traffic(3, 1472); l.MaxPacket() != 1472 {
		t.Errorf("packets of %d after three round trips and probes of %v, want 1472", l.MaxPacket(), probes)
	}
	first = l.pn
	l.sendSize(8, 1472)
	l.sendSize(3, 100)
	l.advance(20 * ms)
	l.ack(first+8, first+10)
	if probes := l.traffic(20, 1472); len(probes) > 0 {
		t.Errorf("probes of %v after the second black hole, want them after %v", probes, mtuRecover)
	}
	l.advance(mtuRecover)
	if l.traffic(3, 1472); l.MaxPacket() != 1472 {
		t.Errorf("packets of %d later, want 1472", l.MaxPacket())
	}

	l = large(t)
	first = l.pn
	l.sendSize(8, 1472)
	l.sendSize(3, 100)
	l.sendSize(1, 1472)
	l.advance(20 * ms)
	l.ack(first+8, first+10)
	l.ack(first+8, first+11)
	if l.MaxPacket() != 1472 || l.cc.packet != 1472 {
		t.Errorf("packets of %d after a later large one arrived, want 1472", l.MaxPacket())
	}
}
