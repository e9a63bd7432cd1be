// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow_test

import (
	"context"
	"fmt"
	"time"

	"github.com/seed-98f0d4c2/runnel/flow"
	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// carry moves what from has to say to to, as a driver would through a network.
func carry(now time.Time, from, to *flow.Mux, pn *uint64) {
	for {
		payload := from.Append(now, *pn, nil, 1171)
		if len(payload) == 0 {
			return
		}
		from.Sent(now, *pn, len(payload), false)
		eliciting := false
		for len(payload) > 0 {
			t, body, rest, err := wire.NextChunk(payload)
			if err == nil && (t.IsAck() || t.IsFlow()) {
				err = to.HandleChunk(now, t, body)
			}
			if err != nil {
				panic(err) // a driver closes the session
			}
			eliciting = eliciting || t.AckEliciting()
			payload = rest
		}
		to.HandlePacketEnd(now, *pn, eliciting, wire.NotECT)
		*pn++
	}
}

// Two machines, and the time that the driver tells them.
func ExampleMux() {
	ctx := context.Background()
	now := time.Now()
	var pnA, pnB uint64
	a, b := flow.NewMux(&flow.Config{}), flow.NewMux(&flow.Config{})

	out, _ := a.Open("greeting", &flow.Options{Metadata: []byte("v1")})
	receipt, _ := out.Send(ctx, []byte("hello"))

	carry(now, a, b, &pnA)

	in, _ := b.Accept(ctx)
	msg, _ := in.Recv(ctx)
	fmt.Printf("%s %s: %s\n", in.Label(), in.Metadata(), msg.Data)
	fmt.Println(receipt.Outcome())

	now = now.Add(wire.MaxAckDelay)
	carry(now, b, a, &pnB)
	fmt.Println(receipt.Outcome())
	// Output:
	// greeting v1: hello
	// Pending
	// Delivered
}
