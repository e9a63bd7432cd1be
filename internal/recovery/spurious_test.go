// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package recovery

import (
	"slices"
	"testing"
	"time"
)

// TestSpuriousLoss: a packet declared lost that arrives after all is told as arrived, and undoes the episode once all of
// it has arrived.
func TestSpuriousLoss(t *testing.T) {
	l := newLab(t, Config[uint64]{})
	l.send(1)
	l.advance(100 * ms)
	l.ack(0, 0)
	sent := l.now
	l.send(8) // 1 to 8
	l.advance(100 * ms)
	l.ack(8, 8)
	if !slices.Equal(l.lost, []uint64{1, 2, 3, 4, 5}) || l.InFlight() != 2*1200 {
		t.Fatalf("lost %v, %d in flight, want 1 to 5 lost", l.lost, l.InFlight())
	}
	l.advance(ms)
	l.ack(8, 8, 2, 5)
	if !slices.Equal(l.acked, []uint64{5, 4, 3, 2}) || len(l.cc.spurious) != 0 {
		t.Fatalf("acked %v, undone %v; want 2 to 5 told, and nothing undone while 1 is missing", l.acked, l.cc.spurious)
	}
	l.ack(8, 8, 2, 5) // the same again
	if len(l.acked) != 0 {
		t.Fatalf("acked %v twice", l.acked)
	}
	l.ack(8, 8, 1, 7)
	if !slices.Equal(l.acked, []uint64{7, 6, 1}) || len(l.cc.spurious) != 1 || !l.cc.spurious[0].Equal(sent) {
		t.Errorf("acked %v, undone %v; want 7, 6, 1, and one undone that was sent at %v", l.acked, l.cc.spurious, sent)
	}
	if l.stats.Spurious != 5 || l.stats.Lost != 5 || l.InFlight() != 0 || l.Outstanding() != 0 {
		t.Errorf("%d spurious of %d lost, %d in flight; want 5 of 5 and none", l.stats.Spurious, l.stats.Lost, l.InFlight())
	}
	if got := l.path.rate.delivered; got != 9*1200 {
		t.Errorf("%d bytes delivered, want all nine packets", got)
	}
}

// TestSpuriousOnlyWithinEpisode: an older episode is not undone when a newer one has begun.
func TestSpuriousOnlyWithinEpisode(t *testing.T) {
	l := newLab(t, Config[uint64]{})
	l.send(5)
	l.advance(100 * ms)
	l.ack(4, 4)
	l.send(5) // 5 to 9
	l.advance(100 * ms)
	l.ack(9, 9, 4, 4)
	l.ack(9, 9, 0, 4)
	if len(l.cc.losses) != 2 || len(l.cc.spurious) != 0 {
		t.Errorf("%d losses, %d undone; want two, and the first no longer to be undone", len(l.cc.losses), len(l.cc.spurious))
	}
	l.ack(0, 9)
	if len(l.cc.spurious) != 1 {
		t.Errorf("%d undone after all of the second arrived, want one", len(l.cc.spurious))
	}
}

// TestThresholdsAdapt: RFC 8985 §6.2.
func TestThresholdsAdapt(t *testing.T) {
	t.Run("packets", func(t *testing.T) {
		l := newLab(t, Config[uint64]{})
		late := func(by int) (lost int) { // the first of by+1 packets arrives last
			first := l.pn
			l.send(by + 1)
			l.advance(100 * ms)
			l.ack(first+1, l.pn-1)
			lost = len(l.lost)
			l.ack(first, l.pn-1)
			return lost
		}
		if late(2) != 0 || late(8) != 1 {
			t.Fatal("a packet 8 late is lost to begin with, one 2 late is not")
		}
		if n := late(8); n != 0 {
			t.Errorf("%d lost, the second time a packet was 8 late; want none: the threshold is %d", n, l.path.reorder.packets)
		}
		for range reorderEpisodes {
			first := l.pn
			l.send(30)
			l.advance(100 * ms)
			l.ack(first+1, l.pn-1)
			if len(l.lost) != 1 {
				t.Fatalf("lost %v, want the first", l.lost)
			}
		}
		if l.path.reorder != newReorder() {
			t.Errorf("thresholds %+v after %d losses that were none of reordering, want those of RFC 9002", l.path.reorder, reorderEpisodes)
		}
	})
	t.Run("time", func(t *testing.T) {
		l := newLab(t, Config[uint64]{})
		late := func(by time.Duration) (lost int) {
			first := l.pn
			l.send(2)
			l.advance(100 * ms)
			l.ack(first+1, first+1)
			l.advance(by)
			if at := l.NextTimeout(); !at.IsZero() && !at.After(l.now) {
				l.HandleTimeout(l.now)
			}
			lost = len(l.lost)
			l.ack(first, first+1)
			return lost
		}
		if late(10*ms) != 0 || late(45*ms) != 1 {
			t.Fatal("a packet 45 ms late is lost to begin with, one 10 ms late is not")
		}
		if n := late(45 * ms); n != 0 {
			t.Errorf("%d lost the second time a packet was 45 ms late, want none: the threshold is %d eighths", n, l.path.reorder.eighths)
		}
		if late(150 * ms); l.path.reorder.eighths != maxTimeEighths {
			t.Errorf("%d eighths after 150 ms, want the most: a round trip", l.path.reorder.eighths)
		}
	})
}

// TestLostAreForgotten: what was lost is remembered for a while, up to a number.
func TestLostAreForgotten(t *testing.T) {
	l := newLab(t, Config[uint64]{})
	l.send(3 * maxLost)
	l.advance(100 * ms)
	l.ack(l.pn-1, l.pn-1)
	if len(l.lost) != 3*maxLost-3 || l.Tracker.lost.n != maxLost {
		t.Errorf("%d lost, %d remembered; want all but 3, and %d", len(l.lost), l.Tracker.lost.n, maxLost)
	}
	l.send(10)
	l.advance(minLostFor + time.Second)
	l.ack(l.pn-10, l.pn-1)
	if n := l.Tracker.lost.n; n > 3 {
		t.Errorf("%d remembered after two seconds, want none but the three that were lost last", n)
	}
}
