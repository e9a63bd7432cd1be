// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/seed-98f0d4c2/runnel/mobility"
)

// A Path is how packets travel to the peer.
type Path struct {
	Kind   mobility.Kind  // direct or relayed
	Local  netip.AddrPort // where packets leave: our socket, or our address at a relay; the socket may be on all interfaces
	Remote netip.AddrPort // where they are sent: the peer's address, or its address at a relay
	RTT    time.Duration  // of the path's last probes; zero if it has not been probed
}

func (s *Session) pathOf(p mobility.Path) Path {
	return Path{Kind: p.Kind, Local: s.e.localAddr(p.Key), Remote: p.Remote, RTT: p.RTT}
}

// localAddr returns the address that packets leave by on a path.
func (e *Endpoint) localAddr(k mobility.Key) netip.AddrPort {
	if k.Via > 0 {
		return e.relays.addr(k.Via)
	}
	if x := e.extra(k.Via); x != nil {
		a, _ := netip.ParseAddrPort(x.pc.LocalAddr().String())
		return a
	}
	if sock := e.socketFor(k.Remote.Addr()); sock != nil {
		return sock.conn.LocalAddr()
	}
	return netip.AddrPort{}
}

// An Event is a change of a session's state: [PathChanged], [Degraded], [Stalled], [Resumed] or [Closed].
type Event interface{ event() eventKind }

// PathChanged says that packets to the peer travel another way.
type PathChanged struct {
	From, To Path
	Why      string        // one sentence for humans
	Gap      time.Duration // how long nothing had come by the path From; of changes that were merged, the longest
}

// Degraded says that the path in use loses much or has become slow. The session goes on and looks for a better one.
type Degraded struct {
	Path Path
	Why  string // one sentence for humans
}

// Stalled says that no path answers. Nothing is lost by that: what is sent waits, up to the limits of its own and of
// buffers, and the session goes on ([Resumed]) when one end can reach the other again, or ends after [Config].Linger.
type Stalled struct {
	Since time.Time // when the peer was last heard
	Why   string    // one sentence for humans
}

// Resumed says that a stalled session goes on.
type Resumed struct {
	Gap  time.Duration // how long nothing was heard
	Path Path          // what carries it now
}

// Closed is the last event of a session.
type Closed struct{ Err error }

func (PathChanged) event() eventKind { return eventPath }
func (Degraded) event() eventKind    { return eventQuality }
func (Stalled) event() eventKind     { return eventStall }
func (Resumed) event() eventKind     { return eventStall }
func (Closed) event() eventKind      { return eventEnd }

// An eventKind says which events overtake each other.
type eventKind int

const (
	eventPath eventKind = iota
	eventQuality
	eventStall
	eventEnd
)

// NextEvent waits for the next change of the session's state. Changes that are overtaken before they are read are
// merged, so that a slow reader sees the latest state, in the order in which it came about, and costs no memory: the last
// path with where the first change led from, the last degradation, and of stalls and their ends the last; [Stats] counts
// those that were not read. After [Closed] has been returned, NextEvent returns its error.
func (s *Session) NextEvent(ctx context.Context) (Event, error) {
	for {
		ev, wait, err := s.events.next()
		if ev != nil || err != nil {
			return ev, err
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// events holds at most one event of each kind.
type events struct {
	mu    sync.Mutex
	queue []Event // in the order in which they came
	ended error
	told  bool          // Closed has been returned
	more  chan struct{} // closed, and replaced, when there is news
}

func (e *events) init() { e.more = make(chan struct{}) }

// put adds an event, in place of one of its kind that has not been read.
func (e *events) put(ev Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if i := slices.IndexFunc(e.queue, func(old Event) bool { return old.event() == ev.event() }); i >= 0 {
		if p, ok := ev.(PathChanged); ok {
			old, _ := e.queue[i].(PathChanged)
			p.From, p.Gap = old.From, max(p.Gap, old.Gap)
			ev = p
		}
		e.queue = slices.Delete(e.queue, i, i+1)
	}
	e.queue = append(e.queue, ev)
	e.wake()
}

func (e *events) close(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ended = err
	e.wake()
}

func (e *events) wake() {
	close(e.more)
	e.more = make(chan struct{})
}

// next returns the next event, or a channel that is closed when there may be one.
func (e *events) next() (Event, <-chan struct{}, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case len(e.queue) > 0:
		ev := e.queue[0]
		e.queue = slices.Delete(e.queue, 0, 1)
		return ev, nil, nil
	case e.ended != nil && !e.told:
		e.told = true
		return Closed{Err: e.ended}, nil, nil
	case e.ended != nil:
		return nil, nil, e.ended
	}
	return nil, e.more, nil
}
