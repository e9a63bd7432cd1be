// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"

	"github.com/seed-98f0d4c2/runnel/signaling"
)

// A watchedSignaler tells the user when the registration at the rendezvous is lost for good.
type watchedSignaler struct {
	signaling.Signaler
	c *chat
}

// watchSignaling wraps s, which registers at url.
func (c *chat) watchSignaling(s signaling.Signaler, url string) signaling.Signaler {
	c.rendezvous = url
	return watchedSignaler{s, c}
}

// Recv notices when somebody else has taken the registration over: nobody finds us any more, and nothing else says so.
func (w watchedSignaler) Recv(ctx context.Context) (signaling.Envelope, error) {
	e, err := w.Signaler.Recv(ctx)
	if errors.Is(err, signaling.ErrReplaced) {
		w.c.out.alarm("offline: another process has registered with our key; nobody new will find us")
	}
	return e, err
}

// NetworkChanged passes on what the endpoint has noticed; embedding the interface alone would hide that the client can be told.
func (w watchedSignaler) NetworkChanged() {
	if n, ok := w.Signaler.(interface{ NetworkChanged() }); ok {
		n.NetworkChanged()
	}
}

// waitOnline says when we are registered, and why not when it takes long.
func (c *chat) waitOnline() {
	limited, cancel := context.WithTimeout(c.ctx, dialTime)
	defer cancel()
	_, err := c.signaler.Services(limited)
	if errors.Is(err, context.DeadlineExceeded) {
		c.out.alarm("error %v; still trying", err)
		_, err = c.signaler.Services(c.ctx)
	}
	if err == nil {
		c.out.note("online %s", c.rendezvous)
	}
}
