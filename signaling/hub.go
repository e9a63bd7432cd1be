// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package signaling

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"time"
)

// hubQueue is how many envelopes wait for a member of a [Hub] that does not call Recv.
const hubQueue = 256

// A HubConfig configures a [Hub].
type HubConfig struct {
	// Delay is the time each hop takes: peer to hub, and hub to peer. An envelope takes two of them, and so does the verdict
	// of Send. If zero or negative, there is no delay.
	Delay time.Duration
}

// A Hub is a signaling plane in memory: it introduces peers of one process to each other, in tests and examples. It has no
// goroutine and works in a testing/synctest bubble. The zero Hub is ready to use and has no delay.
type Hub struct {
	delay time.Duration

	mu       sync.Mutex
	members  map[PeerID]*hubMember
	services Services
}

// NewHub returns a hub without members. c may be nil.
func NewHub(c *HubConfig) *Hub {
	h := new(Hub)
	if c != nil {
		h.delay = max(0, c.Delay)
	}
	return h
}

// Join makes the peer reachable and returns its end. An end that joined with the same ID before is out: its methods return
// [ErrReplaced].
func (h *Hub) Join(id PeerID) Signaler {
	m := &hubMember{hub: h, id: id, wake: make(chan struct{}, 1), done: make(chan struct{})}
	h.mu.Lock()
	old := h.members[id]
	if h.members == nil {
		h.members = make(map[PeerID]*hubMember)
	}
	h.members[id] = m
	h.mu.Unlock()
	if old != nil {
		old.end(ErrReplaced)
	}
	return m
}

// SetServices sets what the members are told from now on. Before, they are told that there are no services.
func (h *Hub) SetServices(s Services) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.services = s.clone()
}

// Online reports whether somebody has joined as id.
func (h *Hub) Online(id PeerID) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.members[id] != nil
}

type hubEnvelope struct {
	Envelope
	due time.Time
}

// A hubMember is a [Signaler] at a [Hub].
type hubMember struct {
	hub *Hub
	id  PeerID

	queue []hubEnvelope // guarded by hub.mu
	wake  chan struct{} // has an element when queue may have something for a Recv that waits

	once sync.Once
	err  error // written before done is closed, read after
	done chan struct{}
}

func (m *hubMember) end(err error) {
	m.once.Do(func() {
		m.err = err
		close(m.done)
	})
}

func (m *hubMember) signal() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

func (m *hubMember) Send(ctx context.Context, to PeerID, payload []byte) error {
	if len(payload) > MaxPayload {
		return ErrTooLarge
	}
	if err := m.travel(ctx, m.hub.delay); err != nil {
		return err
	}
	verdict := m.hub.route(m.id, to, payload)
	if err := m.travel(ctx, m.hub.delay); err != nil {
		return err
	}
	return verdict
}

// route puts the envelope in the target's queue.
func (h *Hub) route(from, to PeerID, payload []byte) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	target := h.members[to]
	if target == nil {
		return ErrNotFound
	}
	if len(target.queue) >= hubQueue {
		return ErrBusy
	}
	target.queue = append(target.queue, hubEnvelope{
		Envelope: Envelope{From: from, To: to, Payload: bytes.Clone(payload)},
		due:      time.Now().Add(h.delay),
	})
	target.signal()
	return nil
}

// travel waits for d, or returns why not.
func (m *hubMember) travel(ctx context.Context, d time.Duration) error {
	select {
	case <-m.done:
		return m.err
	default:
	}
	if err := ctx.Err(); err != nil || d <= 0 {
		return err
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-m.done:
		return m.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (m *hubMember) Recv(ctx context.Context) (Envelope, error) {
	for {
		e, wait, ok := m.next()
		if ok {
			return e, nil
		}
		var due <-chan time.Time
		if wait > 0 {
			due = time.After(wait)
		}
		select {
		case <-m.wake:
		case <-due:
		case <-m.done:
			return Envelope{}, m.err
		case <-ctx.Done():
			m.signal() // another Recv may have left the envelope on its way to this one
			return Envelope{}, ctx.Err()
		}
	}
}

// next takes the first envelope off the queue, or says how long it is still on its way; zero means that there is none.
func (m *hubMember) next() (e Envelope, wait time.Duration, ok bool) {
	m.hub.mu.Lock()
	defer m.hub.mu.Unlock()
	if len(m.queue) == 0 {
		return Envelope{}, 0, false
	}
	if wait := time.Until(m.queue[0].due); wait > 0 {
		return Envelope{}, wait, false
	}
	e = m.queue[0].Envelope
	m.queue = slices.Delete(m.queue, 0, 1)
	if len(m.queue) > 0 {
		m.signal()
	}
	return e, 0, true
}

func (m *hubMember) Services(ctx context.Context) (Services, error) {
	select {
	case <-m.done:
		return Services{}, m.err
	default:
	}
	if err := ctx.Err(); err != nil {
		return Services{}, err
	}
	m.hub.mu.Lock()
	defer m.hub.mu.Unlock()
	return m.hub.services.clone(), nil
}

func (m *hubMember) Close() error {
	m.hub.mu.Lock()
	if m.hub.members[m.id] == m {
		delete(m.hub.members, m.id)
	}
	m.hub.mu.Unlock()
	m.end(ErrClosed)
	return nil
}
