// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"sync"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/condition"
)

// A Conditioner makes the network of an endpoint bad on purpose, so that a program can be tried on one: in a test, or
// while it runs. It is given to an endpoint in [Config].Conditioner and may be changed at any time, from any goroutine.
// The zero value changes nothing until it is told to.
//
// It stands between the endpoint and its UDP sockets, real or virtual, and acts on every datagram there: packets of
// sessions, connectivity checks, and what goes to STUN servers and to relays over UDP. Relays over TCP and TLS and the
// rendezvous are not affected. All peers share the link that it imitates. One Conditioner may serve several endpoints,
// each of which then gets a link of its own in each direction.
//
// While packets are held an endpoint has one goroutine more. What is held when the endpoint closes is lost.
type Conditioner struct {
	mu    sync.Mutex
	set   [2]Conditions
	users map[*conditioned]struct{}
	gone  [2]ConditionStats // of endpoints that have closed
}

// Conditions say what a network does to packets in one direction. The zero value does nothing. Probabilities are from 0
// to 1, times up to an hour; values out of range count as the nearest in range. Chance decides first which packets are lost, held back,
// doubled or damaged; what is left waits for the bandwidth and then travels for the delay.
type Conditions struct {
	// Loss is the part of the packets that is lost on average; 1 is an outage. If Burst is more than 1, losses come in
	// runs of that mean length in packets (a Gilbert–Elliott channel), as on radio links. BurstDensity is the part of
	// the packets lost within a run; if zero, all are.
	Loss         float64
	Burst        float64
	BurstDensity float64

	// Delay is how long every packet takes, in addition to what the network takes anyway. A random part of Jitter is
	// added to it. Packets keep their order nevertheless, unless JitterReorders is set.
	Delay, Jitter  time.Duration
	JitterReorders bool

	// Reorder is the part of the packets that is held back for ReorderDelay, so that those that follow overtake them.
	// If ReorderDelay is zero, 10 ms.
	Reorder      float64
	ReorderDelay time.Duration

	// Duplicate is the part of the packets that arrive twice, Corrupt the part of which one bit is flipped. Damaged
	// packets do not authenticate; they count as lost, and in [Stats].Forged.
	Duplicate, Corrupt float64

	// Bandwidth is how many bits of UDP payload pass in a second; zero is unlimited. Packets wait for it in a queue.
	// One that would wait for longer than QueueDelay, or behind more than QueueBytes, is dropped, as by a router with a
	// full buffer. Of the two limits zero means none; if both are zero, QueueDelay is 100 ms.
	Bandwidth  int64
	QueueDelay time.Duration
	QueueBytes int

	// Seed determines chance. With the same seed the n-th packet meets the same luck.
	Seed uint64
}

// ConditionStats count what a [Conditioner] has done in one direction. Packets that came while there were no
// conditions are not counted. Packets and Duplicated together are all the others but Delayed, Reordered and Corrupted.
type ConditionStats struct {
	Packets   uint64 // that came in
	Delivered uint64 // that went on, twins included

	Lost      uint64 // by chance
	QueueFull uint64 // dropped because too much waited for the bandwidth
	Overflow  uint64 // dropped because more was under way than is held: 32768 packets, 32 MiB
	Discarded uint64 // held when the endpoint closed

	Delayed    uint64 // did not go on at once
	Reordered  uint64 // held back
	Duplicated uint64
	Corrupted  uint64

	Held int // under way now
}

func (s *ConditionStats) add(o condition.Stats) {
	s.Packets += o.Packets
	s.Delivered += o.Delivered
	s.Lost += o.Lost
	s.QueueFull += o.QueueFull
	s.Overflow += o.Overflow
	s.Discarded += o.Discarded
	s.Delayed += o.Delayed
	s.Reordered += o.Reordered
	s.Duplicated += o.Duplicated
	s.Corrupted += o.Corrupted
	s.Held += o.Held
}

// ConditionerStats is a snapshot of a [Conditioner], all its endpoints taken together.
type ConditionerStats struct{ Send, Receive ConditionStats }

// A direction is the way a datagram goes through a socket.
type direction int

const (
	sending direction = iota
	receiving
)

// Set changes the conditions in both directions: c for what the endpoint sends and again for what it receives. Packets
// under way keep the delay they have been given.
func (c *Conditioner) Set(both Conditions) { c.apply([]direction{sending, receiving}, both) }

// SetSend changes the conditions for what the endpoint sends.
func (c *Conditioner) SetSend(s Conditions) { c.apply([]direction{sending}, s) }

// SetReceive changes the conditions for what the endpoint receives.
func (c *Conditioner) SetReceive(r Conditions) { c.apply([]direction{receiving}, r) }

func (c *Conditioner) apply(dirs []direction, s Conditions) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range dirs {
		c.set[d] = s
		for u := range c.users {
			u.set(d, s)
		}
	}
}

// Conditions returns what has been set last for each direction.
func (c *Conditioner) Conditions() (send, receive Conditions) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.set[sending], c.set[receiving]
}

// Stats returns a snapshot of the counters.
func (c *Conditioner) Stats() ConditionerStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	sum := c.gone
	for u := range c.users {
		for d, st := range u.stats() {
			sum[d].add(st)
		}
	}
	return ConditionerStats{Send: sum[sending], Receive: sum[receiving]}
}

// join makes u follow the conditions.
func (c *Conditioner) join(u *conditioned) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.users == nil {
		c.users = make(map[*conditioned]struct{})
	}
	c.users[u] = struct{}{}
	for d, s := range c.set {
		u.set(direction(d), s)
	}
}

// leave ends that and keeps what u has counted.
func (c *Conditioner) leave(u *conditioned) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.users, u)
	for d, st := range u.stats() {
		c.gone[d].add(st)
	}
}
