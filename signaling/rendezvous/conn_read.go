// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package rendezvous

import (
	"errors"
	"time"

	"github.com/seed-98f0d4c2/runnel/signaling"
	"github.com/seed-98f0d4c2/runnel/signaling/internal/rvproto"
)

// read handles frames until the connection ends, and returns why it did.
func (c *conn) read() error {
	for {
		f, err := c.receive()
		if err == nil {
			err = c.handle(f)
		}
		if errors.Is(err, rvproto.ErrMalformed) || errors.Is(err, rvproto.ErrTooLarge) {
			c.srv.counters.malformed.Add(1)
			c.shut(rvproto.CloseProtocol, rvproto.CodeProtocol, errorFrame(rvproto.CodeProtocol, err.Error()))
			<-c.ctx.Done() // the writer closes
			return err
		}
		if err != nil {
			return err
		}
	}
}

func (c *conn) handle(f *rvproto.Frame) error {
	switch f.Type {
	case rvproto.TypeSend:
		c.respond(&rvproto.Frame{Type: rvproto.TypeAck, Seq: f.Seq, Result: c.once(f)})
	case rvproto.TypeReceived:
		if !c.sess.ack(c, f.Seen) {
			return malformed("received: nothing with that number was sent")
		}
	case rvproto.TypePresence:
		c.respond(c.presence(f))
	case rvproto.TypeVerify:
		c.respond(&rvproto.Frame{Type: rvproto.TypeVerified, Epoch: c.sess.epochOf(c)})
	case rvproto.TypePing:
		c.respond(&rvproto.Frame{Type: rvproto.TypePong, ID: f.ID})
	case rvproto.TypePong: // that it was heard is all it is for
	default:
		return malformed(f.Type + " after registration")
	}
	return nil
}

type malformed string

func (m malformed) Error() string { return "rendezvous: " + string(m) }
func (m malformed) Unwrap() error { return rvproto.ErrMalformed }

// once carries a send out, or returns the result it had when it was carried out before.
func (c *conn) once(f *rvproto.Frame) string {
	c.sess.sending.Lock()
	defer c.sess.sending.Unlock()
	if result, ok := c.sess.resultOf(f.Seq); ok {
		return result
	}
	result := c.introduce(f)
	c.sess.remember(f.Seq, result)
	c.srv.counters.sent(result)
	return result
}

// introduce carries a send out and returns its result. The limits come before the look whether the peer is there, so that
// they tell nothing about it.
func (c *conn) introduce(f *rvproto.Frame) string {
	if len(f.Payload) > rvproto.MaxPayload {
		return rvproto.ResultTooLarge
	}
	to, err := signaling.ParsePeerID(f.To)
	if err != nil {
		return rvproto.ResultInvalid
	}
	now := time.Now()
	if !c.mayAsk(now, to) {
		return rvproto.ResultRateLimited
	}
	for range 2 { // a session may be replaced between finding and using it
		target := c.srv.find(to)
		if target == nil {
			break
		}
		if result := target.push(now, c.id, f.Payload); result != resultGone {
			return result
		}
	}
	return rvproto.ResultNotFound
}

// presence answers whether a send would find the peer. It counts as one, so that asking is not cheaper than sending.
func (c *conn) presence(f *rvproto.Frame) *rvproto.Frame {
	r := &rvproto.Frame{Type: rvproto.TypePresence, Seq: f.Seq, To: f.To}
	to, err := signaling.ParsePeerID(f.To)
	switch {
	case err != nil:
		r.Result = rvproto.ResultInvalid
	case !c.mayAsk(time.Now(), to):
		r.Result = rvproto.ResultRateLimited
	default:
		r.Result, r.Online = rvproto.ResultOK, c.srv.find(to) != nil
	}
	return r
}

// mayAsk takes from what this peer may send to that one.
func (c *conn) mayAsk(now time.Time, to signaling.PeerID) bool {
	ok := c.srv.pairs.take(now, append(c.id[:len(c.id):len(c.id)], to[:]...))
	if !ok {
		c.srv.counters.limitedPair.Add(1)
	}
	return ok
}

func (s *Server) find(id signaling.PeerID) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions[id]
}

// respond queues a frame for the writer. A client that does not take its responses is disconnected.
func (c *conn) respond(f *rvproto.Frame) {
	c.mu.Lock()
	full := len(c.control) >= maxControl
	if !full {
		c.control = append(c.control, f)
	}
	c.mu.Unlock()
	if full {
		c.slow()
		return
	}
	c.wakeWriter()
}
