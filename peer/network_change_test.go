// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/peer/peertest"
)

// A restless monitor always knows of a change.
type restless struct{ asked atomic.Int64 }

func (r *restless) WaitChange(ctx context.Context) error {
	r.asked.Add(1)
	return ctx.Err()
}

// A monitor that returns at once every time does not keep the endpoint busy.
func TestRestlessMonitor(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: moveRTT / 4})
		var m restless
		near := n.Endpoint(peertest.PortRestricted, &peer.Config{NetworkMonitor: &m})
		s, back := meet(t, near, n.Endpoint(peertest.PortRestricted, nil))
		time.Sleep(10 * time.Second)
		asked, sent := m.asked.Load(), s.Stats().PacketsSent
		time.Sleep(10 * time.Second)
		if got := m.asked.Load() - asked; got == 0 || got > 200 {
			t.Errorf("the monitor was asked %d times in ten seconds, want at most 20 a second", got)
		}
		if got := s.Stats().PacketsSent - sent; got > 800 {
			t.Errorf("%d packets sent in ten seconds, want at most 16 challenges a second, as many answers, and lists of addresses", got)
		}
		go echoSession(t.Context(), back)
		if err := say(t.Context(), s, "still here"); err != nil {
			t.Error(err)
		}
	})
}
