// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"

	"github.com/seed-98f0d4c2/runnel/flow"
	gates "github.com/seed-98f0d4c2/runnel/internal/gate"
)

// maxBacklog is how many streams wait in a Listener. Beyond it, and beyond a session's share of it, streams are refused.
const maxBacklog = 4096

// A Listener is a [net.Listener] for the streams under one label, as [net/http.Server] and others that know nothing
// of peers want it. The connections that it accepts are of type [*Stream], whose Session says who the peer is.
type Listener struct {
	id    ID
	where *listeners
	label string

	gate gates.Gate // condition: Accept need not wait
	// Protected by gate.
	queue   []arrivedStream
	waiting map[*Session]int // streams in queue; no zeros
	err     error            // why nothing more comes
}

var _ net.Listener = (*Listener)(nil)

type arrivedStream struct {
	s *Session
	r *flow.Receiver
}

// Listener makes a listener of the streams that peers open under a label on any session of the endpoint, those
// included that are waiting already. AcceptStream does not return them. A label has one listener at a time; a
// session's own goes before that of the endpoint.
//
// At most 4096 streams wait for Accept. A session that has one among them gets another in only while it has less than a
// quarter as many as there are places left, so that no peer takes them all: the first gets 819, the next one 655. The
// opener of a stream beyond that sees a [*flow.RejectedError].
//
// Sessions need not be accepted for it: while there is a listener, or a handler of calls, and more sessions than
// [Config.Backlog] wait for Accept, the oldest of them leaves the line and lives on.
func (e *Endpoint) Listener(label string) (*Listener, error) {
	l, err := e.listeners.add(e.id, label)
	if err != nil {
		return nil, err
	}
	e.eachSession(func(s *Session) { s.adoptStreams(l) })
	return l, nil
}

// Listener makes a listener of the streams that the peer opens under a label on this session. See [Endpoint.Listener].
func (s *Session) Listener(label string) (*Listener, error) {
	l, err := s.arrived.listeners.add(s.e.id, label)
	if err != nil {
		return nil, err
	}
	s.adoptStreams(l)
	return l, nil
}

// Accept waits for the next stream. One whose session has ended meanwhile can still be read. It fails with an error that
// is [net.ErrClosed] after Close, and when what the listener belongs to is closed and no stream is left.
func (l *Listener) Accept() (net.Conn, error) {
	st, err := l.AcceptStream(context.Background())
	if err != nil {
		return nil, &net.OpError{Op: "accept", Net: network, Addr: l.Addr(), Err: err}
	}
	return st, nil
}

// AcceptStream is Accept with a context that bounds the wait.
func (l *Listener) AcceptStream(ctx context.Context) (*Stream, error) {
	next, err := l.next(ctx)
	if err != nil {
		return nil, err
	}
	return next.s.answerStream(next.r), nil
}

func (l *Listener) next(ctx context.Context) (arrivedStream, error) {
	if err := l.gate.WaitAndLock(ctx); err != nil {
		return arrivedStream{}, err
	}
	defer func() { l.gate.Unlock(l.ready()) }()
	if len(l.queue) == 0 {
		return arrivedStream{}, l.err
	}
	next := l.queue[0]
	l.queue[0] = arrivedStream{}
	l.queue = l.queue[1:]
	if l.waiting[next.s]--; l.waiting[next.s] == 0 {
		delete(l.waiting, next.s)
	}
	return next, nil
}

// ready is the gate's condition.
func (l *Listener) ready() bool { return len(l.queue) > 0 || l.err != nil }

// Close ends the listener. Streams that it has accepted live on; those that wait are refused. The label is free again.
func (l *Listener) Close() error {
	l.where.remove(l)
	l.gate.Lock()
	refused := l.queue
	l.queue, l.waiting = nil, nil
	if l.err == nil {
		l.err = net.ErrClosed
	}
	l.gate.Unlock(true)
	for _, st := range refused {
		refuse(st.r)
	}
	return nil
}

// Addr returns the ID of this endpoint as an address.
func (l *Listener) Addr() net.Addr { return Addr{l.id} }

// Label returns the label that the listener is for.
func (l *Listener) Label() string { return l.label }

// offer puts a stream in line, or refuses it.
func (l *Listener) offer(s *Session, r *flow.Receiver) {
	l.gate.Lock()
	ok := l.err == nil && l.hasRoom(s)
	if ok {
		l.queue = append(l.queue, arrivedStream{s, r})
		l.waiting[s]++
	}
	l.gate.Unlock(l.ready())
	if !ok {
		refuse(r)
	}
}

// hasRoom says whether another stream of a session may wait. The gate must be locked.
func (l *Listener) hasRoom(s *Session) bool {
	left, n := maxBacklog-len(l.queue), l.waiting[s]
	return left > 0 && (n == 0 || n < left/4)
}

// listeners are those of an endpoint or a session, by label.
type listeners struct {
	mu      sync.Mutex
	byLabel map[string]*Listener
	err     error // why there will be no more
}

func (ls *listeners) add(id ID, label string) (*Listener, error) {
	if strings.HasPrefix(label, reservedPrefix) {
		return nil, errReserved
	}
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.err != nil {
		return nil, ls.err
	}
	if ls.byLabel[label] != nil {
		return nil, fmt.Errorf("peer: there is a listener of %q already", label)
	}
	if ls.byLabel == nil {
		ls.byLabel = make(map[string]*Listener)
	}
	l := &Listener{id: id, where: ls, label: label, waiting: make(map[*Session]int)}
	ls.byLabel[label] = l
	return l, nil
}

func (ls *listeners) get(label string) *Listener {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return ls.byLabel[label]
}

func (ls *listeners) any() bool {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return len(ls.byLabel) > 0
}

func (ls *listeners) remove(l *Listener) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.byLabel[l.label] == l {
		delete(ls.byLabel, l.label)
	}
}

// close makes Accept of all of them fail with err once nothing waits.
func (ls *listeners) close(err error) {
	ls.mu.Lock()
	all := ls.byLabel
	ls.byLabel, ls.err = nil, err
	ls.mu.Unlock()
	for _, l := range all {
		l.gate.Lock()
		if l.err == nil {
			l.err = err
		}
		l.gate.Unlock(true)
	}
}

// offerStream gives a stream to the listener of its label, or puts it in line for AcceptStream.
func (s *Session) offerStream(r *flow.Receiver) {
	if l := s.listener(r.Label()); l != nil {
		l.offer(s, r)
		return
	}
	if !s.arrived.streams.offer(r) {
		refuse(r)
		return
	}
	if l := s.listener(r.Label()); l != nil { // made meanwhile, when the stream was not in line yet
		s.adoptStreams(l)
	}
}

func (s *Session) listener(label string) *Listener {
	if l := s.arrived.listeners.get(label); l != nil {
		return l
	}
	return s.e.listeners.get(label)
}

// adoptStreams gives a listener what waits for AcceptStream under its label.
func (s *Session) adoptStreams(l *Listener) {
	for _, r := range s.arrived.streams.take(l.label) {
		l.offer(s, r)
	}
}
