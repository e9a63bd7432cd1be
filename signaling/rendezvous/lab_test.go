// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package rendezvous_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/seed-98f0d4c2/runnel/signaling"
	"github.com/seed-98f0d4c2/runnel/signaling/internal/rvproto"
	"github.com/seed-98f0d4c2/runnel/signaling/rendezvous"
)

const (
	labName = "rendezvous.test"
	labURL  = "ws://" + labName
)

// A lab is a server and a network in memory, all in one bubble of virtual time.
type lab struct {
	t   *testing.T
	srv *rendezvous.Server

	mu    sync.Mutex
	conns chan net.Conn // to the server that listens now
	web   *http.Server
	down  bool // nobody can connect
}

// inLab runs f in a bubble with a server. c may be nil; its name is set.
func inLab(t *testing.T, c *rendezvous.Config, f func(t *testing.T, l *lab)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := &lab{t: t}
		l.start(c)
		t.Cleanup(l.stop) // after the clients have gone
		f(t, l)
	})
}

func (l *lab) start(c *rendezvous.Config) {
	l.t.Helper()
	var config rendezvous.Config
	if c != nil {
		config = *c
	}
	config.Name = labName
	srv, err := rendezvous.New(&config)
	if err != nil {
		l.t.Fatal(err)
	}
	l.srv = srv
	conns := make(chan net.Conn)
	web := &http.Server{Handler: srv}
	l.mu.Lock()
	l.conns, l.web = conns, web
	l.mu.Unlock()
	go web.Serve(&pipeListener{conns: conns, done: make(chan struct{})})
}

func (l *lab) stop() {
	l.t.Helper()
	if err := l.srv.Shutdown(context.Background()); err != nil {
		l.t.Errorf("Shutdown: %v", err)
	}
	l.web.Close()
}

// A pipeListener accepts the ends of pipes.
type pipeListener struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func (p *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipeListener) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (p *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

var errDown = errors.New("the network is down")

func (l *lab) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	l.mu.Lock()
	conns, down := l.conns, l.down
	l.mu.Unlock()
	if down {
		return nil, errDown
	}
	client, server := net.Pipe()
	select {
	case conns <- server:
		return client, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(time.Second): // nobody listens
		return nil, errDown
	}
}

func (l *lab) setDown(down bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = down
}

// A peer is a client whose connection can be cut.
type peer struct {
	*signaling.Client
	key  ed25519.PrivateKey
	mu   sync.Mutex
	last net.Conn
}

func (l *lab) key() ed25519.PrivateKey {
	k, err := signaling.GenerateKey()
	if err != nil {
		l.t.Fatal(err)
	}
	return k
}

// join makes a client and waits until it is registered.
func (l *lab) join(key ed25519.PrivateKey, c *signaling.ClientConfig) *peer {
	l.t.Helper()
	p := l.enter(key, c)
	synctest.Wait()
	if !p.Stats().Connected {
		l.t.Fatalf("not connected: %v", p.Stats().LastErr)
	}
	return p
}

// enter makes a client.
func (l *lab) enter(key ed25519.PrivateKey, c *signaling.ClientConfig) *peer {
	l.t.Helper()
	return l.enterVia(key, c, func(conn net.Conn) net.Conn { return conn })
}

// enterVia makes a client with connections that via has changed.
func (l *lab) enterVia(key ed25519.PrivateKey, c *signaling.ClientConfig, via func(net.Conn) net.Conn) *peer {
	l.t.Helper()
	if key == nil {
		key = l.key()
	}
	p := &peer{key: key}
	var config signaling.ClientConfig
	if c != nil {
		config = *c
	}
	config.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := l.dial(ctx, network, addr)
		if err == nil {
			p.mu.Lock()
			p.last = conn
			p.mu.Unlock()
			conn = via(conn)
		}
		return conn, err
	}
	client, err := signaling.NewClient(labURL, key, &config)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { client.Close() })
	p.Client = client
	return p
}

// cut breaks the connection as a network does.
func (p *peer) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last.Close()
}

// A raw client speaks the protocol frame by frame.
type raw struct {
	t   *testing.T
	key ed25519.PrivateKey
	ws  *websocket.Conn
}

func (l *lab) raw() *raw {
	l.t.Helper()
	ws, _, err := websocket.Dial(l.t.Context(), labURL, &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: &http.Transport{DialContext: l.dial}},
	})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { ws.CloseNow() })
	return &raw{l.t, l.key(), ws}
}

func (r *raw) write(f *rvproto.Frame) {
	r.t.Helper()
	b, err := rvproto.Encode(f)
	if err != nil {
		r.t.Fatal(err)
	}
	r.text(string(b))
}

func (r *raw) text(s string) {
	r.t.Helper()
	if err := r.ws.Write(r.t.Context(), websocket.MessageText, []byte(s)); err != nil {
		r.t.Fatal(err)
	}
}

// want reads a frame and fails the test when it is none of the type.
func (r *raw) want(why, typ string) *rvproto.Frame {
	r.t.Helper()
	_, b, err := r.ws.Read(r.t.Context())
	if err != nil {
		r.t.Fatalf("%s: %v", why, err)
	}
	f, err := rvproto.ParseServer(b)
	if err != nil || f.Type != typ {
		r.t.Fatalf("%s: got %s (%v), want %s", why, b, err, typ)
	}
	return f
}

// wantClose reads until the connection ends and fails the test when it ends otherwise.
func (r *raw) wantClose(why string, code websocket.StatusCode) {
	r.t.Helper()
	for {
		_, _, err := r.ws.Read(r.t.Context())
		if err == nil {
			continue
		}
		if got := websocket.CloseStatus(err); got != code {
			r.t.Fatalf("%s: closed with %d (%v), want %d", why, got, err, code)
		}
		return
	}
}

func (r *raw) id() signaling.PeerID { return signaling.IDFromKey(r.key) }

// hello returns the server's challenge.
func (r *raw) hello() *rvproto.Frame {
	r.t.Helper()
	r.write(&rvproto.Frame{Type: rvproto.TypeHello, Version: rvproto.Version})
	return r.want("hello", rvproto.TypeChallenge)
}

func (r *raw) sign(ch *rvproto.Frame) *rvproto.Frame {
	return &rvproto.Frame{
		Type:      rvproto.TypeRegister,
		Peer:      r.id().String(),
		Signature: ed25519.Sign(r.key, rvproto.AuthInput(ch.Server, ch.Challenge, ch.Time)),
	}
}

func (r *raw) register() *rvproto.Frame {
	r.t.Helper()
	r.write(r.sign(r.hello()))
	return r.want("register", rvproto.TypeRegistered)
}
