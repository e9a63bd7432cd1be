// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package signaling

import (
	"container/heap"
	"errors"
	"fmt"
	"time"
)

const (
	// replayWindow is how far the clocks of peers may be apart, network delay included.
	replayWindow = 5 * time.Minute

	// replayEntries bounds the memory. A rendezvous server lets through at most 30 envelopes a second to one peer, which is
	// 18 000 in twice the window.
	replayEntries = 1 << 15
)

var (
	// ErrStale: the message is older, or more in the future, than the 5 minutes that are allowed for clocks and delay.
	ErrStale = errors.New("signaling: message is not fresh")

	// ErrReplay: the message has been seen before.
	ErrReplay = errors.New("signaling: message is a repetition")
)

// A ReplayGuard tells messages that are fresh and new from those that are old or repeated, whoever repeated them. Its
// memory is bounded. The zero value is ready to use; it is not safe for concurrent use.
type ReplayGuard struct {
	seen  map[[16]byte]struct{}
	order replayHeap // oldest first

	// floor is the time, in Unix milliseconds, up to which messages are refused because their IDs may have been forgotten.
	floor int64
}

// Check remembers m and returns nil, or the error [ErrStale] or [ErrReplay]. m must come from [Open]: of a message that is
// not authentic nothing may be remembered. A clock that is set back makes it refuse messages, never forget them.
func (g *ReplayGuard) Check(now time.Time, m *Message) error {
	at := m.Time.UnixMilli()
	age := now.Sub(m.Time)
	if age > replayWindow || age < -replayWindow {
		return fmt.Errorf("%w: %v old; are both clocks right?", ErrStale, age.Round(time.Second))
	}
	g.forget(now.Add(-replayWindow).UnixMilli())
	if _, ok := g.seen[m.ID]; ok {
		return ErrReplay
	}
	if at <= g.floor {
		return fmt.Errorf("%w: too many newer messages since", ErrStale)
	}
	if len(g.order) >= replayEntries {
		// What is forgotten early must not come back: no message as old will be accepted.
		g.floor = max(g.floor, g.pop().at)
		if at <= g.floor {
			return fmt.Errorf("%w: too many newer messages since", ErrStale)
		}
	}
	if g.seen == nil {
		g.seen = make(map[[16]byte]struct{})
	}
	g.seen[m.ID] = struct{}{}
	heap.Push(&g.order, replayEntry{at, m.ID})
	return nil
}

// forget drops what is so old that its age alone refuses it.
func (g *ReplayGuard) forget(before int64) {
	for len(g.order) > 0 && g.order[0].at < before {
		g.floor = max(g.floor, g.pop().at) // should the clock be set back
	}
}

func (g *ReplayGuard) pop() replayEntry {
	e := heap.Pop(&g.order).(replayEntry)
	delete(g.seen, e.id)
	return e
}

type replayEntry struct {
	at int64 // Unix milliseconds
	id [16]byte
}

type replayHeap []replayEntry

func (h replayHeap) Len() int           { return len(h) }
func (h replayHeap) Less(i, j int) bool { return h[i].at < h[j].at }
func (h replayHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *replayHeap) Push(x any)        { *h = append(*h, x.(replayEntry)) }
func (h *replayHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	*h = old[:len(old)-1]
	return e
}
