// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package signaling

import (
	"errors"
	"log/slog"
	"time"

	"github.com/coder/websocket"

	"github.com/seed-98f0d4c2/runnel/signaling/internal/rvproto"
)

var (
	errSilent     = errors.New("signaling: the rendezvous server does not answer")
	errForgotten  = errors.New("signaling: the rendezvous server has forgotten this registration")
	errUnexpected = errors.New("signaling: the rendezvous server sent a frame out of place")
)

// read handles frames until the connection ends, and returns why it did.
func (cc *clientConn) read() error {
	for {
		f, err := cc.receive(cc.ctx)
		if err != nil {
			return err
		}
		if err := cc.handle(f); err != nil {
			return err
		}
	}
}

func (cc *clientConn) handle(f *rvproto.Frame) error {
	c := cc.c
	switch f.Type {
	case rvproto.TypeAck:
		c.respond(f.Seq, f.Result, false)
	case rvproto.TypePresence:
		result := f.Result
		if result == "" {
			result = rvproto.ResultOK
		}
		c.respond(f.Seq, result, f.Online)
	case rvproto.TypeDeliver:
		return cc.deliver(f)
	case rvproto.TypeServices:
		c.mu.Lock()
		c.adoptLocked(f.Services)
		c.mu.Unlock()
	case rvproto.TypePing:
		c.mu.Lock()
		full := len(cc.control) >= maxControl
		if !full {
			cc.control = append(cc.control, &rvproto.Frame{Type: rvproto.TypePong, ID: f.ID})
		}
		c.mu.Unlock()
		if full {
			return errSilent
		}
		cc.wakeWriter()
	case rvproto.TypePong:
		cc.pong(f.ID)
	case rvproto.TypeVerified:
		c.mu.Lock()
		defer c.mu.Unlock()
		cc.verifying = false
		if f.Epoch != c.epoch {
			return errForgotten
		}
	default:
		return errUnexpected
	}
	return nil
}

// deliver puts an envelope in the inbox. The server hears that it arrived also when there is no room: keeping it there
// would only make the next ones late.
func (cc *clientConn) deliver(f *rvproto.Frame) error {
	c := cc.c
	from, err := ParsePeerID(f.From)
	if err != nil {
		return err
	}
	c.mu.Lock()
	if c.conn != cc { // the next one gets it again, and its numbers may be others
		c.mu.Unlock()
		return nil
	}
	again := f.Seq <= c.seen
	if !again {
		c.seen = f.Seq
	}
	cc.receipt = true
	c.mu.Unlock()
	cc.wakeWriter()
	if again {
		return nil
	}
	select {
	case c.inbox <- Envelope{From: from, To: c.id, Payload: f.Payload}:
		return nil
	default:
	}
	c.mu.Lock()
	c.stats.Dropped++
	dropped := c.stats.Dropped
	c.mu.Unlock()
	if dropped&(dropped-1) == 0 { // 1, 2, 4, 8, …
		c.config.Log.Warn("envelopes dropped: Recv is not called in time", slog.Uint64("dropped", dropped))
	}
	return nil
}

// write sends what there is to send until the connection ends, and returns why it did.
func (cc *clientConn) write() error {
	c := cc.c
	ping, verify := newTick(c.config.PingInterval), newTick(c.config.VerifyInterval)
	defer ping.stop()
	defer verify.stop()
	silent := 0
	for {
		for f := cc.next(); f != nil; f = cc.next() {
			if err := cc.send(cc.ctx, f); err != nil {
				return err
			}
		}
		select {
		case <-cc.wake:
		case <-ping.c():
			ping.reset()
			if cc.heard.Swap(false) {
				silent = 0
				continue
			}
			// The server pings more often than that, so this was one miss already.
			if silent++; silent >= 2 {
				return errSilent
			}
			if err := cc.send(cc.ctx, &rvproto.Frame{Type: rvproto.TypePing, ID: uint64(silent)}); err != nil {
				return err
			}
		case <-verify.c():
			verify.reset()
			c.mu.Lock()
			late := cc.verifying
			cc.verifying = true
			c.mu.Unlock()
			if late {
				return errForgotten
			}
			if err := cc.send(cc.ctx, &rvproto.Frame{Type: rvproto.TypeVerify}); err != nil {
				return err
			}
		case <-c.closing.Done():
			cc.goodbye()
			return ErrClosed
		case <-cc.ctx.Done():
			return nil
		}
	}
}

// next returns the next frame to be written, or nil.
func (cc *clientConn) next() *rvproto.Frame {
	c := cc.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(cc.control) > 0 {
		f := cc.control[0]
		cc.control = cc.control[1:]
		return f
	}
	if cc.receipt {
		cc.receipt = false
		return &rvproto.Frame{Type: rvproto.TypeReceived, Seen: c.seen}
	}
	for _, r := range c.pending {
		if r.sentOn != cc {
			r.sentOn = cc
			return r.frame
		}
	}
	return nil
}

// goodbye closes with a status that tells the server not to wait for this client.
func (cc *clientConn) goodbye() {
	t := time.AfterFunc(goodbyeTimeout, func() { cc.cancel(ErrClosed) }) // ends the reads and writes of Close
	defer t.Stop()
	cc.ws.Close(websocket.StatusNormalClosure, "")
}

// A tick is a jittered ticker that may never tick.
type tick struct {
	d time.Duration
	t *time.Timer
}

func newTick(d time.Duration) *tick {
	if d <= 0 {
		return &tick{}
	}
	return &tick{d, time.NewTimer(jitter(d))}
}

func (t *tick) c() <-chan time.Time {
	if t.t == nil {
		return nil
	}
	return t.t.C
}

func (t *tick) reset() { t.t.Reset(jitter(t.d)) }

func (t *tick) stop() {
	if t.t != nil {
		t.t.Stop()
	}
}
