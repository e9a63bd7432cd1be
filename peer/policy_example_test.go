// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"context"
	"log"

	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/signaling"
)

// A call rings before somebody answers it. Until then a caller who is no friend must not learn where we are: the session
// stands, by a relay, and the ringing and all that is said goes through it. On pick-up it becomes direct, in place.
func ExampleSession_AllowDirect() {
	answer := func(ctx context.Context, signaler signaling.Signaler, friends map[peer.ID]bool, ring func(peer.ID) (pickedUp bool)) {
		phone, err := peer.Listen(ctx, &peer.Config{
			Signaler: signaler,
			Addresses: func(id peer.ID) peer.AddressPolicy {
				if friends[id] {
					return peer.Direct
				}
				return peer.DirectAfterAccept
			},
		})
		if err != nil {
			log.Fatal(err)
		}
		for {
			call, err := phone.Accept(ctx)
			if err != nil {
				return
			}
			go func() {
				if !ring(call.Peer()) { // blocks until somebody decides
					call.Abort(1000, "declined")
					return
				}
				call.AllowDirect()
				log.Printf("talking to %v", call.Peer())
			}()
		}
	}
	_ = answer
}
