// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package netlab

import (
	"math/rand/v2"
	"sync"
	"time"
)

// link is what lies between a site and the core. Both directions are alike.
type link struct {
	mu     sync.Mutex
	oneWay time.Duration
	jitter time.Duration
	loss   float64
}

func (l *link) get() (oneWay, jitter time.Duration, loss float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.oneWay, l.jitter, l.loss
}

func (l *link) setLoss(p float64) {
	l.mu.Lock()
	l.loss = clampProbability(p)
	l.mu.Unlock()
}

func (l *link) setOneWay(d time.Duration) {
	l.mu.Lock()
	l.oneWay = max(d, 0)
	l.mu.Unlock()
}

// flow is the source of chance for the packets from one site to another. Each packet draws the same number of
// values whatever the links are like at the time, so that packet n always meets the same luck.
type flow struct{ rng *rand.Rand }

// flowKey names sites by number. A packet that was injected comes from site -1.
type flowKey struct{ from, to int }

func newFlow(seed uint64, k flowKey) *flow {
	return &flow{rng: rand.New(rand.NewPCG(seed, uint64(k.from+1)<<32|uint64(k.to)))}
}

// pass sends one packet over two links, of which the first may be nil, and returns its delay, or false if one of them
// lost it.
func (f *flow) pass(up, down *link) (delay time.Duration, ok bool) {
	ok = true
	for _, l := range [...]*link{up, down} {
		luck, extra := f.rng.Float64(), f.rng.Float64()
		if l == nil {
			continue
		}
		oneWay, jitter, loss := l.get()
		delay += oneWay + time.Duration(extra*float64(jitter))
		if luck < loss {
			ok = false
		}
	}
	return delay, ok
}
