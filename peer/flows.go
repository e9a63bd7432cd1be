// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"sync"

	"github.com/seed-98f0d4c2/runnel/flow"
)

// OpenFlow opens a flow to the peer under a label that tells the peer what it is for. It does not wait: the flow
// comes to be at the peer with its first message, or at once if it is announced. A nil o means the zero Options.
func (s *Session) OpenFlow(label string, o *flow.Options) (*flow.Sender, error) {
	return s.mux.Open(label, o)
}

// AcceptFlow waits for the next flow that the peer has opened. Streams, and flows that answer one of ours, are not
// among them. When the session is over, flows that have arrived are still returned before its error is.
func (s *Session) AcceptFlow(ctx context.Context) (*flow.Receiver, error) {
	return s.incoming.accept(ctx, s.mux, false)
}

// maxUnaccepted is how many flows, or streams, wait for a program that only accepts the other kind.
const maxUnaccepted = 1024

// incoming sorts what the peer opens into flows and streams. There is no goroutine for it: of those who wait, one
// takes from the flow machine for all.
type incoming struct {
	mu      sync.Mutex
	flows   []*flow.Receiver
	streams []*flow.Receiver
	pulling bool
	news    chan struct{} // closed, and replaced, when something has changed
}

func (in *incoming) init() { in.news = make(chan struct{}) }

func (in *incoming) accept(ctx context.Context, mux *flow.Mux, stream bool) (*flow.Receiver, error) {
	for {
		in.mu.Lock()
		if q := in.queue(stream); len(*q) > 0 {
			r := (*q)[0]
			*q = (*q)[1:]
			in.mu.Unlock()
			return r, nil
		}
		if in.pulling {
			news := in.news
			in.mu.Unlock()
			select {
			case <-news:
				continue
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		in.pulling = true
		in.mu.Unlock()

		r, err := mux.Accept(ctx)
		in.mu.Lock()
		in.pulling = false
		if r != nil {
			if q := in.queue(r.Stream()); len(*q) < maxUnaccepted {
				*q = append(*q, r)
			} else {
				r.Reject(0) // nobody accepts this kind
			}
		}
		close(in.news)
		in.news = make(chan struct{})
		in.mu.Unlock()
		if err != nil {
			return nil, err
		}
	}
}

func (in *incoming) queue(stream bool) *[]*flow.Receiver {
	if stream {
		return &in.streams
	}
	return &in.flows
}
