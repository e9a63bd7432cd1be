// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package rendezvous

import (
	"hash/maphash"
	"math"
	"sync"
	"time"
)

// A bucket is a token bucket. The zero bucket is full.
type bucket struct {
	used float64 // tokens missing
	last time.Time
}

// take takes a token, unless there is none.
func (b *bucket) take(now time.Time, rate, burst float64) bool {
	if rate >= unlimited {
		return true
	}
	b.refill(now, rate)
	if b.used+1 > burst {
		return false
	}
	b.used++
	return true
}

// wait takes a token, on credit if need be, and returns how long it is until it would have been there.
func (b *bucket) wait(now time.Time, rate, burst float64) time.Duration {
	if rate >= unlimited {
		return 0
	}
	b.refill(now, rate)
	b.used++
	return max(0, time.Duration((b.used-burst)/rate*float64(time.Second)))
}

func (b *bucket) refill(now time.Time, rate float64) {
	if !b.last.IsZero() {
		b.used = max(0, b.used-max(0, now.Sub(b.last).Seconds())*rate)
	}
	b.last = now
}

const (
	tableSets = 1 << 12
	tableWays = 8
)

// A bucketTable has token buckets for keys that anybody can make up: addresses, pairs of peers. Its size is fixed, and
// what is forgotten first is the bucket that is nearest to full, for which forgetting makes the least difference. So it
// takes tableWays active keys of one set, which nobody can aim for without the seed, to be let through more often than
// the rate says, and never less often.
type bucketTable struct {
	seed  maphash.Seed
	rate  float64
	burst float64

	shards [64]tableShard
}

type tableShard struct {
	mu   sync.Mutex
	sets [tableSets / 64][tableWays]tableEntry
}

type tableEntry struct {
	key uint64 // 0: free
	bucket
}

func newBucketTable(rate float64, burst int) *bucketTable {
	return &bucketTable{seed: maphash.MakeSeed(), rate: rate, burst: float64(burst)}
}

// take takes a token of the bucket for key, unless there is none.
func (t *bucketTable) take(now time.Time, key []byte) bool {
	h := maphash.Bytes(t.seed, key) | 1 // not zero
	shard := &t.shards[h>>58]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	set := &shard.sets[h>>40%uint64(len(shard.sets))]
	victim, least := 0, math.Inf(1)
	for i := range set {
		e := &set[i]
		if e.key == h {
			return e.take(now, t.rate, t.burst)
		}
		if e.key == 0 {
			if least >= 0 {
				victim, least = i, -1
			}
			continue
		}
		if e.refill(now, t.rate); e.used < least {
			victim, least = i, e.used
		}
	}
	set[victim] = tableEntry{key: h}
	return set[victim].take(now, t.rate, t.burst)
}
