// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package rendezvous

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/seed-98f0d4c2/runnel/signaling"
	"github.com/seed-98f0d4c2/runnel/signaling/internal/rvproto"
)

// A conn is one WebSocket. One goroutine reads from it, from the handshake to the end; once it is registered, another
// one writes.
type conn struct {
	srv     *Server
	ip      netip.Addr
	network netip.Prefix // whom it is charged to
	name    string       // of the server, towards this client
	ws      *websocket.Conn
	net     net.Conn        // underneath ws
	ctx     context.Context //nolint:containedctx // done when the connection is over: a WebSocket is ended by a context
	cancel  context.CancelCauseFunc
	wake    chan struct{} // has an element when the writer may have something to do
	heard   atomic.Bool   // something arrived since the last ping
	counted atomic.Bool   // as slow

	pending bool // guarded by srv.mu: admitted and not registered

	// Set by the handshake, before there is a writer.
	id   signaling.PeerID
	sess *session

	messages bucket // used by the reader only

	mu      sync.Mutex       // guards the following; taken after the session's
	control []*rvproto.Frame // responses and the like; at most maxControl
	end     *ending          // set once: how to close when control has been written
}

// maxControl bounds the responses that wait for the writer. They are answers to the client's own frames, so more than a
// few mean that it does not read.
const maxControl = 128

type ending struct {
	code   websocket.StatusCode
	reason string
}

var (
	errSilent = errors.New("rendezvous: client does not answer")
	errSlow   = errors.New("rendezvous: client does not keep up")
	errLate   = errors.New("rendezvous: client did not register in time")
)

func newConn(s *Server, ip netip.Addr, name string) *conn {
	c := &conn{srv: s, ip: ip, network: network(ip), name: name, wake: make(chan struct{}, 1)}
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	return c
}

func (c *conn) wakeWriter() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// serve runs the connection to its end.
func (c *conn) serve() {
	s := c.srv
	err := c.handshake()
	if err == nil {
		var writer sync.WaitGroup
		writer.Go(func() { c.cancel(c.write()) })
		err = c.read()
		goodbye := websocket.CloseStatus(err) == websocket.StatusNormalClosure
		c.cancel(err)
		writer.Wait()
		c.sess.detach(c, goodbye)
	}
	c.cancel(err)
	c.ws.CloseNow()
	s.remove(c)
	s.config.Log.Debug("connection ended", slog.Any("peer", c.id), slog.String("from", redact(c.ip)),
		slog.Any("cause", context.Cause(c.ctx)))
}

// handshake lets the client prove who it is. docs/PROTOCOL.md "Registration".
func (c *conn) handshake() error {
	s := c.srv
	if d := s.config.Limits.RegisterTimeout; d > 0 {
		t := time.AfterFunc(d, func() { c.cancel(errLate) })
		defer t.Stop()
	}
	hello, err := c.expect(rvproto.TypeHello)
	if err != nil {
		return err
	}
	if hello.Version < rvproto.Version { // a newer client may know this version too, and reads it from the challenge
		return c.refuse(rvproto.CloseUnsupported, rvproto.CodeVersion, "no common version")
	}
	ch := &rvproto.Frame{
		Type:      rvproto.TypeChallenge,
		Version:   rvproto.Version,
		Server:    c.name,
		Challenge: make([]byte, rvproto.ChallengeSize),
		Time:      time.Now().UnixMilli(),
	}
	rand.Read(ch.Challenge)
	if err := c.send(ch); err != nil {
		return err
	}
	reg, err := c.expect(rvproto.TypeRegister)
	if err != nil {
		return err
	}
	id, err := signaling.ParsePeerID(reg.Peer)
	if err != nil {
		return c.refuse(rvproto.CloseAuth, rvproto.CodeUnauthorized, err.Error())
	}
	if !ed25519.Verify(id.Key(), rvproto.AuthInput(c.name, ch.Challenge, ch.Time), reg.Signature) {
		s.counters.unauthorized.Add(1)
		return c.refuse(rvproto.CloseAuth, rvproto.CodeUnauthorized,
			"the signature does not fit the peer ID, the server name "+c.name+" and the challenge")
	}
	c.id = id
	return c.register(reg)
}

func (c *conn) register(reg *rvproto.Frame) error {
	s := c.srv
	sess, resumed, err := s.register(c, c.id, reg.Resume, reg.Seen)
	if err != nil {
		return err
	}
	c.sess = sess
	now := time.Now()
	err = c.send(&rvproto.Frame{
		Type:     rvproto.TypeRegistered,
		Epoch:    sess.epochOf(c),
		Resume:   sess.token[:],
		Resumed:  resumed,
		Observed: observed(c.ip),
		Time:     now.UnixMilli(),
		Services: s.services(c.id, now),
	})
	if err != nil {
		sess.detach(c, false)
		return err
	}
	s.config.Log.Debug("registered", slog.Any("peer", c.id), slog.Bool("resumed", resumed), slog.String("from", redact(c.ip)))
	return nil
}

func observed(ip netip.Addr) string {
	if !ip.IsValid() {
		return ""
	}
	return ip.String()
}

// receive reads the next frame of a known type.
func (c *conn) receive() (*rvproto.Frame, error) {
	for {
		typ, b, err := c.ws.Read(c.ctx)
		if err != nil {
			return nil, err
		}
		c.heard.Store(true)
		if err := c.pace(); err != nil {
			return nil, err
		}
		if typ != websocket.MessageText {
			return nil, fmt.Errorf("%w: binary message", rvproto.ErrMalformed)
		}
		f, err := rvproto.ParseClient(b)
		if errors.Is(err, rvproto.ErrUnknownType) {
			c.srv.counters.unknownFrames.Add(1)
			continue
		}
		return f, err
	}
}

// pace slows the reading down to the rate of messages that a client may send. TCP makes the client feel it.
func (c *conn) pace() error {
	l := &c.srv.config.Limits
	d := c.messages.wait(time.Now(), l.MessageRate, float64(l.MessageBurst))
	if d == 0 {
		return nil
	}
	c.srv.counters.limitedMessages.Add(1)
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-c.ctx.Done():
		return context.Cause(c.ctx)
	}
}

// expect reads a frame of the handshake.
func (c *conn) expect(typ string) (*rvproto.Frame, error) {
	f, err := c.receive()
	switch {
	case errors.Is(err, rvproto.ErrMalformed) || errors.Is(err, rvproto.ErrTooLarge):
		c.srv.counters.malformed.Add(1)
		return nil, c.refuse(rvproto.CloseProtocol, rvproto.CodeProtocol, err.Error())
	case err != nil:
		return nil, err
	case f.Type != typ:
		c.srv.counters.malformed.Add(1)
		return nil, c.refuse(rvproto.CloseProtocol, rvproto.CodeProtocol, "expected "+typ+", got "+f.Type)
	}
	return f, nil
}

// refuse ends a handshake with an explanation. There is no writer yet, so it writes itself.
func (c *conn) refuse(code websocket.StatusCode, name, text string) error {
	if err := c.send(errorFrame(name, text)); err != nil {
		return err
	}
	c.closeWith(code, name)
	return fmt.Errorf("rendezvous: %s: %s", name, text)
}

func errorFrame(code, text string) *rvproto.Frame {
	return &rvproto.Frame{Type: rvproto.TypeError, Code: code, Text: text[:min(len(text), 200)]}
}

func (c *conn) send(f *rvproto.Frame) error {
	b, err := rvproto.Encode(f)
	if err != nil {
		return err
	}
	ctx := c.ctx
	if d := c.srv.config.Limits.WriteTimeout; d > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, d, errSlow)
		defer cancel()
	}
	err = c.ws.Write(ctx, websocket.MessageText, b)
	if err != nil && errors.Is(context.Cause(ctx), errSlow) {
		c.countSlow()
		return errSlow
	}
	return err
}
