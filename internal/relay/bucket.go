// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

// tableSize is the number of sources whose buckets are remembered: a megabyte, and no more whatever arrives.
const tableSize = 1 << 14

// limiter bounds what strangers get answered: a token bucket per source (IPv4 address or IPv6 /64) in a table of
// fixed size, and one for all of them. Two sources that fall on one slot replace each other; the newcomer starts with
// half a bucket. Which sources collide depends on a secret seed, so nobody can empty or refill the bucket of another
// on purpose, and what slips through that way is bounded by the common bucket.
type limiter struct {
	rate, burst float64
	seed        maphash.Seed

	mu    sync.Mutex
	all   bucket
	slots []slot // made on first use
}

type slot struct {
	key uint64
	bucket
}

type bucket struct {
	tokens float64
	last   time.Time
}

// globalFactor is how many sources at full rate the common bucket serves.
const globalFactor = 500

func newLimiter(rate float64, burst int) *limiter {
	return &limiter{rate: rate, burst: float64(burst), seed: maphash.MakeSeed()}
}

func (b *bucket) take(now time.Time, rate, burst float64) bool {
	if d := now.Sub(b.last).Seconds(); d > 0 {
		b.tokens = min(b.tokens+d*rate, burst)
		b.last = now
	}
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// allow takes a token of the source's bucket.
func (l *limiter) allow(from netip.Addr, now time.Time) bool {
	if l.rate < 0 {
		return true
	}
	if from = from.Unmap(); !from.Is4() {
		p, _ := from.WithZone("").Prefix(64)
		from = p.Addr()
	}
	key := maphash.Comparable(l.seed, from)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.slots == nil {
		l.slots = make([]slot, tableSize)
		l.all = bucket{l.burst * globalFactor, now}
	}
	s := &l.slots[key%tableSize]
	switch {
	case s.last.IsZero():
		*s = slot{key, bucket{l.burst, now}}
	case s.key != key:
		*s = slot{key, bucket{(l.burst + 1) / 2, now}}
	}
	return s.take(now, l.rate, l.burst) && l.all.take(now, l.rate*globalFactor, l.burst*globalFactor)
}
