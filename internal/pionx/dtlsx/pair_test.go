// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package dtlsx

import (
	"bytes"
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// patience bounds every handshake of a test, in virtual time.
const patience = 20 * time.Second

var identities = sync.OnceValue(func() (ids [3]*Identity) {
	for i := range ids {
		id, err := NewIdentity()
		if err != nil {
			panic(err)
		}
		ids[i] = id
	}
	return ids
})

// link carries datagrams one way, after a delay.
type link struct {
	delay time.Duration
	// route says what arrives instead of b, in what order; nil means b itself.
	route func(b []byte) [][]byte

	mu   sync.Mutex
	to   *Handshake
	held [][]byte // what arrived before there was somebody to deliver it to
	sent int      // datagrams given to Write
}

func (l *link) write(b []byte) {
	l.mu.Lock()
	l.sent++
	out := [][]byte{bytes.Clone(b)}
	if l.route != nil {
		out = l.route(bytes.Clone(b))
	}
	l.mu.Unlock()
	time.AfterFunc(l.delay, func() {
		l.mu.Lock()
		to := l.to
		if to == nil {
			l.held = append(l.held, out...)
			out = nil
		}
		l.mu.Unlock()
		for _, b := range out {
			to.Deliver(b)
		}
	})
}

func (l *link) connect(to *Handshake) {
	l.mu.Lock()
	l.to = to
	held := l.held
	l.held = nil
	l.mu.Unlock()
	for _, b := range held {
		to.Deliver(b)
	}
}

func (l *link) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sent
}

// pair is a client and a server with a link each way.
type pair struct {
	client, server *Handshake
	up, down       *link // client to server, server to client
}

// start begins a handshake of two peers that pin each other. The options change what they need to.
func start(t *testing.T, up, down *link, options ...func(client, server *Config)) *pair {
	t.Helper()
	ids := identities()
	c := Config{Identity: ids[0], Client: true, RemoteFingerprint: ids[1].Fingerprint(), Write: up.write}
	s := Config{Identity: ids[1], RemoteFingerprint: ids[0].Fingerprint(), Write: down.write}
	for _, o := range options {
		o(&c, &s)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	p := &pair{up: up, down: down}
	p.server = Start(ctx, &s)
	up.connect(p.server)
	p.client = Start(ctx, &c)
	down.connect(p.client)
	t.Cleanup(func() {
		p.client.Close()
		p.server.Close()
	})
	return p
}

// wantSuccess waits for both sides and checks that they agree.
func (p *pair) wantSuccess(t *testing.T) {
	t.Helper()
	for name, h := range map[string]*Handshake{"client": p.client, "server": p.server} {
		<-h.Done()
		if err := h.Err(); err != nil {
			t.Fatalf("%s: %v, want success", name, err)
		}
	}
	c, s := p.client.Exporter(), p.server.Exporter()
	if c != s {
		t.Errorf("exporters differ: %x and %x", c, s)
	}
	if c == [32]byte{} {
		t.Error("exporter is zero")
	}
}

// bubble runs f in virtual time. A goroutine that is left when f and its cleanups have ended fails the test.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

func records(b []byte) (out []record) {
	for len(b) > 0 {
		r, rest, ok := nextRecord(b)
		if !ok {
			return out
		}
		out, b = append(out, bytes.Clone(r)), rest
	}
	return out
}
