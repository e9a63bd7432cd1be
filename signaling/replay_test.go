// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package signaling

import (
	"encoding/binary"
	"errors"
	"testing"
	"time"
)

func messageAt(n uint64, at time.Time) *Message {
	m := &Message{Time: at}
	binary.BigEndian.PutUint64(m.ID[:], n)
	m.ID[15] = 1
	return m
}

func TestReplayGuard(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_000)
	var g ReplayGuard
	check := func(why string, now time.Time, m *Message, want error) {
		t.Helper()
		if err := g.Check(now, m); !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("%s: error %v, want %v", why, err, want)
		}
	}
	check("fresh", now, messageAt(1, now), nil)
	check("again", now, messageAt(1, now), ErrReplay)
	check("again with another time", now, messageAt(1, now.Add(time.Second)), ErrReplay)
	check("another", now, messageAt(2, now), nil)
	check("at the edge of the past", now, messageAt(3, now.Add(-replayWindow)), nil)
	check("beyond it", now, messageAt(4, now.Add(-replayWindow-time.Millisecond)), ErrStale)
	check("at the edge of the future", now, messageAt(5, now.Add(replayWindow)), nil)
	check("beyond it", now, messageAt(6, now.Add(replayWindow+time.Millisecond)), ErrStale)

	later := now.Add(2 * replayWindow)
	check("the future one when it is about to be forgotten", later, messageAt(5, now.Add(replayWindow)), ErrReplay)
	check("after it is", later.Add(time.Second), messageAt(5, now.Add(replayWindow)), ErrStale)
	check("makes room", later.Add(time.Second), messageAt(7, later), nil)
	if n := len(g.seen); n != 1 || len(g.order) != 1 {
		t.Errorf("%d IDs and %d times remembered, want only the last one", n, len(g.order))
	}
	check("forgotten, and the clock is set back", now, messageAt(1, now), ErrStale)
}

func TestReplayGuardIsBounded(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_000)
	var g ReplayGuard
	n := uint64(replayEntries)
	for i := range 2 * n {
		at := now.Add(time.Duration(i) * time.Millisecond)
		if err := g.Check(at, messageAt(i, at)); err != nil {
			t.Fatalf("message %d of an even flow: %v", i, err)
		}
	}
	if len(g.seen) != replayEntries || len(g.order) != replayEntries {
		t.Fatalf("%d and %d entries, want %d", len(g.seen), len(g.order), replayEntries)
	}
	end := now.Add(time.Duration(2*n) * time.Millisecond)
	for i := range 2 * n {
		if err := g.Check(end, messageAt(i, now.Add(time.Duration(i)*time.Millisecond))); err == nil {
			t.Fatalf("message %d accepted a second time", i)
		}
	}
}
