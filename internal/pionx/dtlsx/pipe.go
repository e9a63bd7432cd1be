// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package dtlsx

import (
	"bytes"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Limits on what the peer, or whoever can send in its name, makes us keep.
const (
	maxQueue   = 64  // datagrams that wait for the library
	maxRecords = 512 // handshake records per handshake: some sixty retransmissions of a whole flight
	maxHeld    = 8   // encrypted records that wait for their keys

	// lingerTime is how long a server repeats its last flight after it has finished, and lingerRepeats how often. A
	// client that has heard nothing for so long has lost more than a datagram.
	lingerTime    = 5 * time.Second
	lingerRepeats = 32
)

// phase is the life of a pipe.
type phase uint8

const (
	running  phase = iota // both directions carry the handshake
	muted                 // the library is being closed: nothing in, nothing out
	finished              // the library is gone; a server answers by itself
	detached              // dead
)

// pipe is the net.Conn that the library believes to be the network. It decides what passes.
type pipe struct {
	client   bool // our side
	interval time.Duration
	in       chan []byte
	closed   chan struct{} // by the library

	dropped atomic.Uint64

	// writeMu serialises calls of write, so that after detach there is none. It is taken before mu.
	writeMu sync.Mutex
	write   func(b []byte)

	mu      sync.Mutex
	phase   phase
	expired chan struct{} // closed when the library wants its reader back
	records int           // handshake records passed on
	// Encrypted records, and the ChangeCipherSpec before them, wait here until the library has made the keys.
	// It would otherwise keep them itself, in a buffer that it reuses.
	keys      bool     // the library has the keys, or will have before it reads again
	ccs       []byte   // a ChangeCipherSpec that waits
	ccsPassed bool     // one has been passed on
	held      [][]byte // encrypted records that wait
	// The server's last flight, as it was sent, and how often it may still be repeated.
	last     []byte
	finishAt time.Time // when the handshake was complete
	repeatAt time.Time // when it may be repeated
	repeats  int
}

func newPipe(client bool, interval time.Duration, write func([]byte)) *pipe {
	return &pipe{
		client:   client,
		interval: interval,
		write:    write,
		in:       make(chan []byte, maxQueue),
		closed:   make(chan struct{}),
		expired:  make(chan struct{}),
		repeats:  lingerRepeats,
	}
}

// deliver filters a datagram from the peer and passes on, in one piece, what is left of it.
func (p *pipe) deliver(b []byte) {
	if len(b) > maxDatagram {
		p.dropped.Add(1)
		return
	}
	p.mu.Lock()
	switch p.phase {
	case running:
		p.filter(b)
		p.mu.Unlock()
	case finished:
		repeat := p.mayRepeat(b)
		p.mu.Unlock()
		if repeat != nil {
			p.send(repeat, finished)
		}
	default:
		p.mu.Unlock()
		p.dropped.Add(1)
	}
}

// filter is called with mu held.
func (p *pipe) filter(b []byte) {
	var pass []byte // own memory
	for len(b) > 0 {
		r, rest, ok := nextRecord(b)
		if !ok {
			p.dropped.Add(1)
			break
		}
		b = rest
		switch typ, epoch := r.contentType(), r.epoch(); {
		case typ == typeHandshake && epoch == 0 && isHandshakeFrom(!p.client, r.body()) && p.records < maxRecords:
			p.records++
			pass = append(pass, r...)
		case typ == typeHandshake && epoch == 1 && p.ccsPassed && p.records < maxRecords:
			p.records++
			pass = append(pass, r...)
		case typ == typeHandshake && epoch == 1 && !p.ccsPassed && len(p.held) < maxHeld:
			p.held = append(p.held, bytes.Clone(r))
		case typ == typeChangeCipherSpec && epoch == 0 && len(r.body()) == 1 && r.body()[0] == 1 &&
			!p.ccsPassed && p.ccs == nil:
			p.ccs = bytes.Clone(r)
		default: // alerts, application data, what nobody understands, and what is too much
			p.dropped.Add(1)
		}
	}
	if pass != nil {
		p.enqueue(pass)
	}
	p.release()
}

// release passes on what has waited for keys, in the order that the library needs. Called with mu held.
func (p *pipe) release() {
	if !p.keys || p.ccs == nil {
		return
	}
	all := p.ccs
	for _, r := range p.held {
		p.records++
		all = append(all, r...)
	}
	p.ccs, p.held, p.ccsPassed = nil, nil, true
	p.enqueue(all)
}

func (p *pipe) enqueue(b []byte) {
	select {
	case p.in <- b:
	default:
		p.dropped.Add(1)
	}
}

// keysExpected says that the library will have the keys before it reads the next datagram.
func (p *pipe) keysExpected() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = true
	p.release()
}

// mayRepeat returns the last flight if b shows that the peer has not received it. Called with mu held.
func (p *pipe) mayRepeat(b []byte) []byte {
	r, _, ok := nextRecord(b)
	now := time.Now()
	if !ok || r.contentType() != typeHandshake && r.contentType() != typeChangeCipherSpec || p.last == nil ||
		p.repeats == 0 || now.Before(p.repeatAt) || now.Sub(p.finishAt) > lingerTime {
		p.dropped.Add(1)
		return nil
	}
	p.repeats--
	p.repeatAt = now.Add(p.interval / 2)
	return p.last
}

// send calls write if the pipe is in the phase that the caller believes it to be in.
func (p *pipe) send(b []byte, in phase) {
	p.writeMu.Lock()
	defer p.writeMu.Unlock()
	p.mu.Lock()
	ok := p.phase == in
	p.mu.Unlock()
	if ok {
		p.write(b)
	}
}

// Write takes a datagram from the library.
func (p *pipe) Write(b []byte) (int, error) {
	r, _, ok := nextRecord(b)
	if !ok || r.contentType() == typeAlert {
		return len(b), nil // alerts stay at home: the peer would not listen to them
	}
	ccs := false
	for rest := b; ; {
		if r, rest, ok = nextRecord(rest); !ok {
			break
		}
		ccs = ccs || r.contentType() == typeChangeCipherSpec
	}
	if ccs {
		p.mu.Lock()
		if p.client {
			p.keys = true // the library makes them before it says so
			p.release()
		} else {
			p.last = bytes.Clone(b) // ChangeCipherSpec and Finished always fit into one datagram
		}
		p.mu.Unlock()
	}
	p.send(b, running)
	return len(b), nil
}

// Read gives the library the next datagram.
func (p *pipe) Read(b []byte) (int, error) {
	p.mu.Lock()
	expired := p.expired
	p.mu.Unlock()
	select {
	case d := <-p.in:
		return copy(b, d), nil
	case <-expired:
		return 0, os.ErrDeadlineExceeded
	case <-p.closed:
		return 0, io.EOF
	}
}

// mute lets nothing pass any more, in either direction.
func (p *pipe) mute() { p.enter(muted) }

// complete begins the time in which a server repeats its last flight.
func (p *pipe) complete() {
	p.mu.Lock()
	p.finishAt = time.Now()
	p.mu.Unlock()
	p.enter(finished)
}

// detach ends it all. When it has returned write is not called any more.
func (p *pipe) detach() {
	p.enter(detached)
	p.writeMu.Lock() // wait for a call that has begun
	defer p.writeMu.Unlock()
}

// enter moves on to a later phase, never back.
func (p *pipe) enter(to phase) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.phase = max(p.phase, to)
	if p.phase != running {
		p.ccs, p.held = nil, nil
	}
	if p.phase == detached {
		p.last = nil
	}
}

// Close is called by the library.
func (p *pipe) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.closed:
	default:
		close(p.closed)
	}
	return nil
}

// SetReadDeadline is how the library interrupts its own Read: it knows only the distant past and never.
func (p *pipe) SetReadDeadline(t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.expired:
		p.expired = make(chan struct{})
	default:
	}
	if !t.IsZero() {
		close(p.expired)
	}
	return nil
}

func (p *pipe) SetDeadline(t time.Time) error    { return p.SetReadDeadline(t) }
func (p *pipe) SetWriteDeadline(time.Time) error { return nil } // Write never blocks
func (p *pipe) LocalAddr() net.Addr              { return pipeAddr{} }
func (p *pipe) RemoteAddr() net.Addr             { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "dtlsx" }
func (pipeAddr) String() string  { return "pipe" }
