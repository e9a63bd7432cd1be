// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"errors"
	"testing"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
	"github.com/seed-98f0d4c2/runnel/peer"
)

// TestOptimisticAcksEndTheSession: a peer that acknowledges whatever may have been sent is found out. RFC 9000 §21.4.
func TestOptimisticAcksEndTheSession(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, b := pair(t)
		transfer(t, a, b, 500)
		if err := b.Err(); err != nil {
			t.Fatalf("honest acknowledgements ended the session: %v", err)
		}
		ack := wire.Ack{Ranges: []wire.AckRange{{End: a.Stats().PacketsSent}}}
		chunk, _ := wire.AppendAck(nil, &ack, 100)
		b.SendChunk(chunk)
		<-a.Done()
		if e := (*peer.CloseError)(nil); !errors.As(a.Err(), &e) || e.Code != 0x4004 {
			t.Errorf("session over with %v, want code 0x4004", a.Err())
		}
	})
}
