// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"slices"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/recovery"
	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// TestTailLoss loses the last packet, which nothing follows that could reveal the loss.
func TestTailLoss(t *testing.T) {
	p := newPair(t, Config{}, Config{})
	f := p.open(p.a, "", nil)
	p.send1(f, []byte("first"))
	r := p.accept(p.b)
	p.recv(r)
	p.run(time.Second)
	start := p.now
	lose := true
	p.a.filter = func(uint64, []byte) bool { was := lose; lose = false; return was }
	p.send1(f, []byte("last"))
	p.recv(r)
	if d := p.now.Sub(start); d > 200*time.Millisecond {
		t.Errorf("a lost last packet arrived after %v, want a probe after about 3 round trips of 20ms", d)
	}
}

// TestOutage cuts the path for 30 s; everything resumes.
func TestOutage(t *testing.T) {
	p := newPair(t, Config{}, Config{})
	f := p.open(p.a, "", nil)
	p.send1(f, pattern(900_000, 1))
	r := p.accept(p.b)
	p.run(100 * time.Millisecond)
	p.eachLink(func(l *link) { l.loss = 1 })
	p.run(time.Second) // what the window still allows
	sent := p.a.sent
	p.run(30 * time.Second)
	if n := p.a.sent - sent; n > 30 {
		t.Errorf("%d packets sent into an outage of 30 s, want few", n)
	}
	p.eachLink(func(l *link) { l.loss = 0 })
	start := p.now
	p.recv(r)
	if d := p.now.Sub(start); d > recovery.MaxPTO+time.Second {
		t.Errorf("resumed after %v, want within the longest back-off", d)
	}
}

// TestResetPath changes the path in an outage; the transfer resumes at once.
func TestResetPath(t *testing.T) {
	p := newPair(t, Config{}, Config{})
	f := p.open(p.a, "", nil)
	p.send1(f, pattern(900_000, 1))
	r := p.accept(p.b)
	p.run(100 * time.Millisecond)
	p.eachLink(func(l *link) { l.loss = 1 })
	p.run(20 * time.Second)
	p.eachLink(func(l *link) { l.loss = 0 })
	p.a.m.ResetPath(p.now, PathInfo{})
	p.b.m.ResetPath(p.now, PathInfo{})
	if s, m := p.a.m.RTT(); m != 0 || s != 333*time.Millisecond {
		t.Errorf("round-trip time %v, least %v, after a change of path, want none", s, m)
	}
	start := p.now
	received := p.b.m.Stats().BytesReceived
	p.run(45 * time.Millisecond)
	if held := p.b.m.recvUsed; held == received {
		t.Error("nothing arrived within two round trips")
	}
	p.recv(r)
	if d := p.now.Sub(start); d > 2*time.Second {
		t.Errorf("900 kB took %v on the new path", d)
	}
}

// TestResume gives a sign of life after an outage; what was in flight is asked about at once.
func TestResume(t *testing.T) {
	p := newPair(t, Config{}, Config{})
	f := p.open(p.a, "", nil)
	p.send1(f, pattern(900_000, 1))
	r := p.accept(p.b)
	p.run(100 * time.Millisecond)
	p.a.m.Resume(p.now) // means nothing now
	p.eachLink(func(l *link) { l.loss = 1 })
	p.run(20 * time.Second)
	p.eachLink(func(l *link) { l.loss = 0 })
	p.a.m.Resume(p.now)
	if n := p.a.m.Stats().ProbeTimeouts; n != 0 {
		t.Errorf("%d probe timeouts still count, want none", n)
	}
	start, received := p.now, p.b.m.Stats().BytesReceived
	p.run(45 * time.Millisecond)
	if p.b.m.recvUsed == received {
		t.Error("nothing arrived within two round trips")
	}
	p.recv(r)
	if d := p.now.Sub(start); d > 3*time.Second {
		t.Errorf("900 kB took %v after the outage", d)
	}
}

// TestNotes: the driver learns that packets of its own have arrived, also of those that are not in flight as long as
// something is.
func TestNotes(t *testing.T) {
	var noted []uint64
	p := newPair(t, Config{Noted: func(n uint64) { noted = append(noted, n) }}, Config{})
	f := p.open(p.a, "", nil)
	p.send1(f, pattern(100, 1))
	p.run(100 * time.Millisecond)
	m := p.a.m
	m.SentNote(p.now, 1000, 60, true, 7)
	m.SentNote(p.now, 1001, 60, false, 8)
	m.SentNote(p.now, 1002, 60, false, 9)
	ack, _ := wire.AppendAck(nil, &wire.Ack{Ranges: []wire.AckRange{{Start: 1001, End: 1002}, {Start: 0, End: 1}}}, 100)
	_, body, _, _ := wire.NextChunk(ack)
	if err := m.HandleChunk(p.now, wire.ChunkAck, body); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(noted, []uint64{8}) || m.InFlight() != 60 {
		t.Errorf("noted %v with %d bytes in flight, want [8] and 60", noted, m.InFlight())
	}
}

// TestAckFrequency checks that bulk data is acknowledged once per two packets or less, but several times per round trip.
func TestAckFrequency(t *testing.T) {
	p := newPair(t, Config{}, Config{})
	p.eachLink(func(l *link) { l.rate, l.queue = 1e6, 1e6 }) // so that packets do not arrive together
	f := p.open(p.a, "", nil)
	p.send1(f, pattern(1_000_000, 1))
	p.recv(p.accept(p.b))
	if ratio := float64(p.b.sent) / float64(p.a.sent); ratio < 0.1 || ratio > 0.6 {
		t.Errorf("%d packets answered with %d, want half to a tenth as many", p.a.sent, p.b.sent)
	}
}
