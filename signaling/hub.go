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
	down     bool
	away     map[PeerID]bool
	changed  chan struct{} // closed when down or away changes; nil while nobody waits
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

// SetDown makes the hub fail, or brings it back: nobody is connected to it meanwhile. Send waits, as that of [Client] does
// without a connection, and so do envelopes that are on their way.
func (h *Hub) SetDown(down bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.down = down
	h.connections()
}

// SetAway cuts the connection of one peer, as its network does when it fails, or mends it. The peer stays a member: others
// find it, and what they send waits for it. It may be called before the peer joins, and holds until it is called again.
func (h *Hub) SetAway(id PeerID, away bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !away {
		delete(h.away, id)
	} else {
		if h.away == nil {
			h.away = make(map[PeerID]bool)
		}
		h.away[id] = true
	}
	h.connections()
}

// connections tells everybody that connections have come or gone. Called with mu held.
func (h *Hub) connections() {
	if h.changed != nil {
		close(h.changed)
		h.changed = nil
	}
	for _, m := range h.members {
		m.signal()
	}
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
	if err := m.hop(ctx); err != nil {
		return err
	}
	verdict := m.hub.route(m.id, to, payload)
	if err := m.hop(ctx); err != nil {
		return err
	}
	return verdict
}

// hop waits until something has come from the member to the hub or back.
func (m *hubMember) hop(ctx context.Context) error {
	if err := m.travel(ctx, m.hub.delay); err != nil {
		return err
	}
	for {
		lost := m.lost()
		if lost == nil {
			return nil
		}
		select {
		case <-lost:
		case <-m.done:
			return m.err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// lost returns nil if the member is connected, else a channel that is closed when that may have changed.
func (m *hubMember) lost() <-chan struct{} {
	h := m.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.cut(m.id) {
		return nil
	}
	if h.changed == nil {
		h.changed = make(chan struct{})
	}
	return h.changed
}

// cut reports whether a member is not connected. Called with mu held.
func (h *Hub) cut(id PeerID) bool { return h.down || h.away[id] }

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
	if len(m.queue) == 0 || m.hub.cut(m.id) {
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
