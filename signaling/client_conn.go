// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package signaling

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/seed-98f0d4c2/runnel/signaling/internal/rvproto"
)

const (
	clientWriteTimeout = 10 * time.Second
	goodbyeTimeout     = time.Second

	// maxControl bounds the pongs that wait for the writer: more than a few mean that nothing gets out.
	maxControl = 16

	// skewWarning is a difference of clocks that will soon make sealed messages fail.
	skewWarning = 2 * time.Minute
)

// A clientConn is one connection of a [Client]. The goroutine of [Client.run] reads from it, another one writes.
type clientConn struct {
	c      *Client
	ws     *websocket.Conn
	ctx    context.Context //nolint:containedctx // done when the connection is over: a WebSocket is ended by a context
	cancel context.CancelCauseFunc
	wake   chan struct{} // has an element when the writer may have something to do
	heard  atomic.Bool   // something arrived since the writer looked last

	// guarded by c.mu
	control   []*rvproto.Frame
	receipt   bool // the server is to be told what has been seen
	verifying bool // a verify is without answer
	probeID   uint64
	answered  chan struct{} // closed, and nil again, by the pong with probeID
}

// wakeWriter may be called on nil.
func (cc *clientConn) wakeWriter() {
	if cc == nil {
		return
	}
	select {
	case cc.wake <- struct{}{}:
	default:
	}
}

// session makes one connection and serves it until it ends. It returns how long it was registered, zero for not at all.
func (c *Client) session() (lasted time.Duration, err error) {
	cc, err := c.establish()
	if err != nil {
		return 0, err
	}
	start := time.Now()
	written := make(chan struct{})
	go func() {
		defer close(written)
		err := cc.write()
		// What ended the writing may be explained by something that has arrived and is not read yet.
		sleep(cc.ctx, goodbyeTimeout)
		cc.cancel(err)
	}()
	err = cc.read()
	cc.cancel(err)
	<-written
	cc.ws.CloseNow()
	c.mu.Lock()
	if c.conn == cc {
		c.conn = nil
	}
	c.mu.Unlock()
	if cause := context.Cause(cc.ctx); cause != nil && !errors.Is(cause, context.Canceled) && !errors.Is(err, ErrReplaced) {
		err = cause // whichever direction failed first knows why
	}
	return max(1, time.Since(start)), err
}

// connect dials and registers, the latter only if commit, unless it is nil, agrees.
func (c *Client) connect(ctx context.Context, commit func() bool) (*clientConn, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.config.ConnectTimeout,
		fmt.Errorf("signaling: not registered after %v", c.config.ConnectTimeout))
	defer cancel()
	ws, resp, err := websocket.Dial(ctx, c.url.String(), &websocket.DialOptions{HTTPClient: c.config.HTTPClient})
	if err != nil {
		return nil, refusal(resp, orCause(ctx, err))
	}
	ws.SetReadLimit(rvproto.MaxFrame)
	cc := &clientConn{c: c, ws: ws, wake: make(chan struct{}, 1)}
	cc.ctx, cc.cancel = context.WithCancelCause(context.Background())
	if err := cc.register(ctx, commit); err != nil {
		cc.cancel(err)
		ws.CloseNow()
		return nil, orCause(ctx, err)
	}
	return cc, nil
}

// orCause prefers the reason of a context that is done over what came of it.
func orCause(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// register does the handshake of the protocol: hello, challenge, register, registered.
func (cc *clientConn) register(ctx context.Context, commit func() bool) error {
	c := cc.c
	if err := cc.send(ctx, &rvproto.Frame{Type: rvproto.TypeHello, Version: rvproto.Version, Agent: "runnel-go"}); err != nil {
		return err
	}
	ch, err := cc.expect(ctx, rvproto.TypeChallenge)
	if err != nil {
		return err
	}
	if ch.Version != rvproto.Version {
		return fmt.Errorf("signaling: the server speaks version %d, this client %d", ch.Version, rvproto.Version)
	}
	if !strings.EqualFold(ch.Server, c.config.ServerName) {
		// Perhaps a challenge of another server, forwarded to be answered there.
		return fmt.Errorf("signaling: the server calls itself %q, not %q", ch.Server, c.config.ServerName)
	}
	if commit != nil && !commit() {
		return errAlive
	}
	c.mu.Lock()
	c.crossed = commit != nil
	reg := &rvproto.Frame{
		Type:      rvproto.TypeRegister,
		Peer:      c.id.String(),
		Signature: ed25519.Sign(c.key, rvproto.AuthInput(ch.Server, ch.Challenge, ch.Time)),
		Resume:    c.resume,
		Seen:      c.seen,
	}
	c.mu.Unlock()
	if err := cc.send(ctx, reg); err != nil {
		return err
	}
	f, err := cc.expect(ctx, rvproto.TypeRegistered)
	if err != nil {
		return err
	}
	if skew := time.Since(time.UnixMilli(f.Time)); skew.Abs() > skewWarning {
		c.config.Log.Warn("clock differs from the server's", slog.Duration("ahead", skew))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !f.Resumed {
		c.seen = 0
	}
	c.resume, c.epoch, c.conn = f.Resume, f.Epoch, cc
	c.stats.Connects++
	if f.Resumed {
		c.stats.Resumed++
	}
	if observed, err := netip.ParseAddr(f.Observed); err == nil {
		c.services.Observed = observed.Unmap()
	}
	c.adoptLocked(f.Services)
	c.config.Log.Info("registered", slog.Uint64("epoch", f.Epoch), slog.Bool("resumed", f.Resumed))
	return nil
}

// adoptLocked makes s what Services returns. Relays with a URL that nobody could use are left out.
func (c *Client) adoptLocked(s *rvproto.Services) {
	next := Services{Observed: c.services.Observed}
	if s != nil {
		next.STUN = s.STUN
		for _, r := range s.Relays {
			if _, err := ParseRelayURL(r.URL); err != nil {
				c.config.Log.Warn("relay ignored", slog.Any("error", err))
				continue
			}
			next.Relays = append(next.Relays, Relay{URL: r.URL, Username: r.Username, Credential: r.Credential})
		}
		if s.TTL > 0 {
			next.Expires = time.Now().Add(time.Duration(s.TTL) * time.Millisecond)
		}
	}
	c.services = next
	if !c.known {
		c.known = true
		close(c.ready)
	}
}

// receive reads the next frame of a known type.
func (cc *clientConn) receive(ctx context.Context) (*rvproto.Frame, error) {
	for {
		typ, b, err := cc.ws.Read(ctx)
		if err != nil {
			if websocket.CloseStatus(err) == rvproto.CloseReplaced {
				return nil, ErrReplaced
			}
			return nil, err
		}
		cc.heard.Store(true)
		if typ != websocket.MessageText {
			return nil, fmt.Errorf("signaling: %w: binary message", rvproto.ErrMalformed)
		}
		f, err := rvproto.ParseServer(b)
		switch {
		case errors.Is(err, rvproto.ErrUnknownType):
			continue
		case err != nil:
			return nil, fmt.Errorf("signaling: %w", err)
		}
		switch f.Type {
		case rvproto.TypeReplaced:
			return nil, ErrReplaced
		case rvproto.TypeError:
			return nil, fmt.Errorf("signaling: the rendezvous server says: %s (%s)", f.Text, f.Code)
		case rvproto.TypeGoingAway:
			return nil, &laterError{
				err:    errors.New("signaling: the rendezvous server is going away"),
				spread: time.Duration(f.Delay) * time.Millisecond,
			}
		}
		return f, nil
	}
}

func (cc *clientConn) expect(ctx context.Context, typ string) (*rvproto.Frame, error) {
	f, err := cc.receive(ctx)
	if err == nil && f.Type != typ {
		err = fmt.Errorf("signaling: the server sent %s, not %s", f.Type, typ)
	}
	return f, err
}

func (cc *clientConn) send(ctx context.Context, f *rvproto.Frame) error {
	b, err := rvproto.Encode(f)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, clientWriteTimeout)
	defer cancel()
	return cc.ws.Write(ctx, websocket.MessageText, b)
}

// jitter is d ±20 %.
func jitter(d time.Duration) time.Duration {
	return d - d/5 + rand.N(2*d/5+1)
}
