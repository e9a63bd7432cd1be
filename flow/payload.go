// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import "context"

// A Payload is a message that goes to many: however many flows of however many sessions it is sent on, its bytes are in
// memory once. It never changes, may be used from any goroutine and sent any number of times, and is the garbage
// collector's once nobody holds it and all messages sent with it have come to their outcome. The zero value is an empty
// message.
type Payload struct{ buf buffer }

// NewPayload returns a payload with a copy of msg.
func NewPayload(msg []byte) *Payload {
	return &Payload{buffer{b: append([]byte(nil), msg...), shared: true}}
}

// SendPayload is Send of what p holds, without a copy. For Options.SendBuffer and Config.SessionSendBuffer it counts in
// full on every flow it waits on, although it takes memory once.
func (s *Sender) SendPayload(ctx context.Context, p *Payload, opts ...SendOption) (*Receipt, error) {
	x, err := s.m.newTerms(len(p.buf.b), opts)
	if err != nil {
		return nil, err
	}
	if err := s.waitAndLock(ctx); err != nil {
		x.free()
		return nil, err
	}
	return s.queueAndUnlock(&p.buf, x), nil
}

// TrySendPayload is SendPayload without waiting: it returns [ErrWouldBlock] when SendPayload would block.
func (s *Sender) TrySendPayload(p *Payload, opts ...SendOption) (*Receipt, error) {
	x, err := s.m.newTerms(len(p.buf.b), opts)
	if err != nil {
		return nil, err
	}
	if err := s.tryLock(); err != nil {
		x.free()
		return nil, err
	}
	return s.queueAndUnlock(&p.buf, x), nil
}
