// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package condition

import (
	"math/rand/v2"
	"time"
)

// luck is the source of chance. Every packet draws the same number of values whatever the settings are, so that packet
// n meets the same luck also if they are changed before it.
type luck struct {
	rng *rand.Rand // nil: not seeded yet
	bad bool       // within a run of losses
}

// A fate is what chance has in store for a packet.
type fate struct {
	lost, held, twin bool
	jitter           time.Duration
	flip             int // bit to be flipped; -1: none
}

func (l *luck) seed(seed uint64) {
	l.rng = rand.New(rand.NewPCG(seed, 0x636f6e646974696f))
	l.bad = false
}

// draw decides the fate of a packet of n bytes.
func (l *luck) draw(s *Settings, n int) fate {
	if l.rng == nil {
		l.seed(s.Seed)
	}
	loss, change, jitter := l.rng.Float64(), l.rng.Float64(), l.rng.Float64()
	held, twin, corrupt, bit := l.rng.Float64(), l.rng.Float64(), l.rng.Float64(), l.rng.Float64()
	f := fate{
		lost:   loss < l.lossNow(s, change),
		held:   held < s.Reorder,
		twin:   twin < s.Duplicate,
		jitter: time.Duration(jitter * float64(s.Jitter)),
		flip:   -1,
	}
	if corrupt < s.Corrupt && n > 0 {
		f.flip = int(bit * float64(8*n))
	}
	return f
}

// lossNow moves between the two states of a Gilbert–Elliott channel and returns the probability of loss in the one it
// arrives in. The mean length of a run and the part of the time spent in runs follow from Burst and Loss.
func (l *luck) lossNow(s *Settings, change float64) float64 {
	if s.Burst <= 1 || s.Loss == 0 {
		l.bad = false
		return s.Loss
	}
	in := s.Loss / s.BurstDensity // part of the time spent in runs
	leave := 1 / s.Burst
	switch {
	case in >= 1:
		l.bad = true
	case l.bad:
		l.bad = change >= leave
	default:
		l.bad = change < leave*in/(1-in)
	}
	if l.bad {
		return s.BurstDensity
	}
	return 0
}
