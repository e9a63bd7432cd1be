// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"math/bits"
	"sync"
	"time"
)

// errNoPorts: every port of the range is in use or resting.
var errNoPorts = errors.New("relay: no free relay port")

// portPool hands out relay ports: a bitmap searched from a random start, so that ports cannot be guessed and a nearly
// full pool is as good as an empty one. A port given back rests before it is used again, lest packets for its last
// owner reach the next.
type portPool struct {
	min  int
	size int
	rest time.Duration

	mu      sync.Mutex
	taken   []uint64 // one bit per port: in use or resting
	free    int
	resting []restingPort // FIFO: all rest equally long
	head    int
}

type restingPort struct {
	port  uint16
	until time.Time
}

func newPortPool(first, last uint16, rest time.Duration) *portPool {
	n := int(last) - int(first) + 1
	p := &portPool{min: int(first), size: n, rest: rest, taken: make([]uint64, (n+63)/64), free: n}
	for i := n; i < len(p.taken)*64; i++ { // bits past the end are never free
		p.taken[i/64] |= 1 << (i % 64)
	}
	return p
}

// take returns a free port, an even one if asked to.
func (p *portPool) take(now time.Time, even bool) (uint16, error) {
	var r [8]byte
	rand.Read(r[:])
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wake(now)
	if p.free == 0 && !even && p.head < len(p.resting) { // better the one that has rested longest than none
		p.release(p.resting[p.head].port)
		p.head++
	}
	if p.free == 0 {
		return 0, errNoPorts
	}
	start := int(binary.BigEndian.Uint64(r[:]) % uint64(p.size))
	eligible := ^uint64(0)
	if even {
		eligible = 0x5555_5555_5555_5555 << (p.min & 1)
	}
	// First the rest of the starting word, then whole words around, then the starting word again.
	w, mask := start/64, ^uint64(0)<<(start%64)
	for range len(p.taken) + 1 {
		if free := ^p.taken[w] & mask & eligible; free != 0 {
			bit := bits.TrailingZeros64(free)
			p.taken[w] |= 1 << bit
			p.free--
			return uint16(p.min + w*64 + bit), nil
		}
		w, mask = (w+1)%len(p.taken), ^uint64(0)
	}
	return 0, errNoPorts // of the kind wanted
}

// give returns a port to the pool, after its rest.
func (p *portPool) give(port uint16, now time.Time) { p.putBack(port, true, now) }

// putBack returns a port to the pool, at once or after its rest.
func (p *portPool) putBack(port uint16, tired bool, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.rest <= 0 || !tired {
		p.release(port)
		return
	}
	p.resting = append(p.resting, restingPort{port, now.Add(p.rest)})
}

// wake releases the ports that have rested enough. p.mu is held.
func (p *portPool) wake(now time.Time) {
	for p.head < len(p.resting) && !p.resting[p.head].until.After(now) {
		p.release(p.resting[p.head].port)
		p.head++
	}
	if p.head > len(p.resting)/2 {
		p.resting = p.resting[:copy(p.resting, p.resting[p.head:])]
		p.head = 0
	}
}

func (p *portPool) release(port uint16) {
	i := int(port) - p.min
	p.taken[i/64] &^= 1 << (i % 64)
	p.free++
}

// available counts the ports that could be taken now.
func (p *portPool) available(now time.Time) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wake(now)
	return p.free
}

// contains reports whether port belongs to the range.
func (p *portPool) contains(port uint16) bool {
	return int(port) >= p.min && int(port) < p.min+p.size
}
