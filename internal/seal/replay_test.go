// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"math/rand/v2"
	"testing"
)

func TestReplayWindowEdges(t *testing.T) {
	const last = maxPN
	for _, tt := range []struct {
		name string
		seen []uint64
		pn   uint64
		want bool
	}{
		{"nothing seen", nil, 0, true},
		{"nothing seen, far", nil, last, true},
		{"zero again", []uint64{0}, 0, false},
		{"next", []uint64{0}, 1, true},
		{"gap", []uint64{0, 2}, 1, true},
		{"oldest that counts", []uint64{Window}, 1, true},
		{"just too old", []uint64{Window}, 0, false},
		{"block boundary", []uint64{63, 64}, 63, false},
		{"same bit, one ring later", []uint64{5, 5 + replayBlocks*64}, 5 + replayBlocks*64, false},
		{"cleared after a ring", []uint64{5, 5 + replayBlocks*64}, 4 + replayBlocks*64, true},
		{"cleared after a leap", []uint64{5, 1 << 40}, 1<<40 - Window + 1, true},
		{"the end", []uint64{last}, last, false},
	} {
		var w replayWindow
		for _, pn := range tt.seen {
			w.mark(pn)
		}
		if got := w.check(tt.pn); got != tt.want {
			t.Errorf("%s: after %v check(%d) = %v, want %v", tt.name, tt.seen, tt.pn, got, tt.want)
		}
	}
}

// TestReplayWindowModel compares the ring with a set.
func TestReplayWindowModel(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 0))
		var w replayWindow
		seen := map[uint64]bool{}
		var end uint64
		for i := range 20000 {
			var pn uint64
			switch r.IntN(10) {
			case 0:
				pn = end + r.Uint64N(3*replayBlocks*64) // a leap
			case 1, 2, 3, 4:
				pn = end
			default:
				back := r.Uint64N(Window + 100)
				pn = end - min(back, end)
			}
			want := !seen[pn] && (pn >= end || end-1-pn < Window)
			if got := w.check(pn); got != want {
				t.Fatalf("seed %d step %d: check(%d) = %v, want %v (largest %d)", seed, i, pn, got, want, int64(end)-1)
			}
			if want {
				w.mark(pn)
				seen[pn] = true
				end = max(end, pn+1)
			}
		}
	}
}
