// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"crypto/sha256"
	"encoding/binary"
	"testing"
)

// TestSameAgain: the same calls at the same times make the same packets, to the byte, or no failure could be repeated.
func TestSameAgain(t *testing.T) {
	run := func(seed uint64) [sha256.Size]byte {
		sum := sha256.New()
		rnd := newRand(seed)
		p := modelledPair(t, seed, rnd.IntN)
		m := newModelled(t, p, rnd.IntN)
		for i, s := range []*side{p.a, p.b} {
			check := s.filter
			s.filter = func(pn uint64, payload []byte) bool {
				var head [17]byte
				head[0] = byte(i)
				binary.BigEndian.PutUint64(head[1:], uint64(p.now.Sub(epoch)))
				binary.BigEndian.PutUint64(head[9:], pn)
				sum.Write(head[:])
				sum.Write(payload)
				return check(pn, payload)
			}
		}
		for range 200 {
			m.act()
		}
		m.finish()
		return [sha256.Size]byte(sum.Sum(nil))
	}
	for seed := range uint64(lighter(25, 4)) {
		if first, again := run(1000+seed), run(1000+seed); first != again {
			t.Errorf("seed %d: other packets the second time", seed)
		}
	}
}
