// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mdns

import (
	"net/netip"
	"testing"
	"time"
)

func source4(i int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)}) }

func TestResponderAnswersItsOwn(t *testing.T) {
	r := NewResponder(bob)
	if !r.Wants(start, query(t, 1, bob, start), source4(1)) {
		t.Error("a query for bob is not answered")
	}
	if r.Wants(start, query(t, 2, alice, start), source4(1)) {
		t.Error("a query for alice is answered by bob")
	}
	if r.Dropped() != 0 {
		t.Errorf("%d drops counted, want none: no limit was met", r.Dropped())
	}
}

// What was heard here does not serve to ask again.
func TestResponderReplay(t *testing.T) {
	r := NewResponder(bob)
	q := query(t, 1, bob, start)
	if !r.Wants(start, q, source4(1)) {
		t.Fatal("the first query is not answered")
	}
	for i := range 5 {
		if r.Wants(start.Add(time.Duration(i)*time.Second), q, source4(i)) {
			t.Errorf("replay %d is answered", i)
		}
	}
	if r.Dropped() != 5 {
		t.Errorf("%d drops counted, want 5", r.Dropped())
	}
}

func TestResponderLimits(t *testing.T) {
	ask := func(t *testing.T, r *Responder, count int, from func(i int) netip.Addr) (answered int) {
		for i := range count {
			if r.Wants(start.Add(time.Duration(i)*time.Millisecond), query(t, i, bob, start), from(i)) {
				answered++
			}
		}
		return answered
	}
	t.Run("source", func(t *testing.T) {
		r := NewResponder(bob)
		got := ask(t, r, 1000, func(int) netip.Addr { return source4(1) })
		if want := burstSource + perSource; got < burstSource || got > want {
			t.Errorf("%d of 1000 queries within a second are answered, want %d to %d", got, burstSource, want)
		}
		if !r.Wants(start.Add(2*time.Second), query(t, 2000, bob, start), source4(2)) {
			t.Error("who asks too much takes the answers of others")
		}
	})
	t.Run("all", func(t *testing.T) {
		r := NewResponder(bob)
		got := ask(t, r, 1000, source4)
		if want := burst + perSecond; got < burst || got > want {
			t.Errorf("%d of 1000 queries within a second are answered, want %d to %d", got, burst, want)
		}
		if uint64(got)+r.Dropped() != 1000 {
			t.Errorf("%d answered and %d dropped, want 1000 in all", got, r.Dropped())
		}
	})
	t.Run("memory", func(t *testing.T) {
		r := NewResponder(bob)
		for i := range 5000 {
			now := start.Add(time.Duration(i) * 50 * time.Millisecond)
			r.Wants(now, query(t, i, bob, now), source4(i))
		}
		if len(r.sources) > maxSources || len(r.seen) > maxNonces {
			t.Errorf("%d sources and %d nonces are remembered, want at most %d and %d",
				len(r.sources), len(r.seen), maxSources, maxNonces)
		}
	})
	t.Run("parsing", func(t *testing.T) {
		r := NewResponder(bob)
		got := 0
		for range 3 * maxParsed {
			if r.Admit(start) {
				got++
			}
		}
		if got != maxParsed || r.Dropped() != 2*maxParsed {
			t.Errorf("%d messages are looked at in a moment and %d dropped, want %d and %d", got, r.Dropped(), maxParsed, 2*maxParsed)
		}
	})
}
