// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"bytes"
	"fmt"
	"testing"
)

// TestBatch builds packets of given sizes as Session.sendTrain does, and looks at what is sent as one.
func TestBatch(t *testing.T) {
	for _, tt := range []struct {
		name  string
		sizes []int
		want  string // size of a segment × bytes
	}{
		{"one", []int{300}, "300×300"},
		{"equal ones", []int{1200, 1200, 1200}, "1200×3600"},
		{"last shorter", []int{1200, 1200, 80}, "1200×2480"},
		{"nothing behind a shorter one", []int{1200, 80, 80}, "1200×1280 80×80"},
		{"a longer one begins anew", []int{40, 1200, 1200, 7}, "40×40 1200×2407"},
		{"a longer one behind equal ones", []int{40, 40, 1200}, "40×80 1200×1200"},
		{"growing", []int{1, 2, 3}, "1×1 2×2 3×3"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var c batch
			var sent []string
			next, seen := byte(1), byte(1)
			flush := func() {
				if len(c.b) == 0 {
					return
				}
				sent = append(sent, fmt.Sprintf("%d×%d", c.segment, len(c.b)))
				for b := c.b; len(b) > 0; seen++ {
					n := min(c.segment, len(b))
					if want := bytes.Repeat([]byte{seen}, n); !bytes.Equal(b[:n], want) {
						t.Errorf("packet %d was overwritten", seen)
					}
					b = b[n:]
				}
				c.b = c.b[:0]
			}
			for _, n := range tt.sizes {
				c.begin()
				pkt := c.room()[:n]
				for i := range pkt {
					pkt[i] = next
				}
				next++
				if !c.fits(n) {
					flush()
				}
				if c.add(pkt) {
					flush()
				}
			}
			flush()
			c.end()
			if got := fmt.Sprint(sent); got != "["+tt.want+"]" {
				t.Errorf("sent %v, want %v", got, tt.want)
			}
			if seen != next {
				t.Errorf("%d packets sent, want %d", seen-1, next-1)
			}
			if c.buf != nil {
				t.Error("an ended batch holds a buffer")
			}
		})
	}
}
