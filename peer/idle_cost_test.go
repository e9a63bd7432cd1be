// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/peer/peertest"
)

// TestIdleSessionCost: what an idle session takes of memory and goroutines, and how often it wakes, at an endpoint that has
// hundreds of them, each with a peer behind a NAT of its own.
func TestIdleSessionCost(t *testing.T) {
	count := 500
	if testing.Short() {
		count = 60
	}
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: 10 * time.Millisecond})
		server := n.Endpoint(peertest.Public, &peer.Config{MaxHandshakes: count, Backlog: count, MaxSessions: count})
		clients := make([]*peer.Endpoint, count)
		for i := range clients {
			clients[i] = n.Endpoint(peertest.PortRestricted, nil)
		}
		time.Sleep(time.Minute)
		// What a session takes at both ends, and is given back when it ends.
		sessions := make([]*peer.Session, 0, 2*count)
		for _, c := range clients {
			a, b := meet(t, c, server)
			sessions = append(sessions, a, b)
		}
		time.Sleep(5 * time.Minute)
		with, stack, goroutines := memory()
		rounds := 0
		for _, s := range sessions {
			rounds -= s.Rounds()
		}
		time.Sleep(10 * time.Minute)
		for _, s := range sessions {
			rounds += s.Rounds()
		}
		for i, s := range sessions {
			s.Abort(2000, "")
			sessions[i] = nil
		}
		time.Sleep(time.Minute)
		without, stackLeft, left := memory()
		each := func(a, b uint64) float64 { return (float64(a) - float64(b)) / float64(2*count) }
		bytes := each(with, without) + each(stack, stackLeft)
		routines := float64(goroutines-left) / float64(2*count)
		wakes := float64(rounds) / float64(2*count) / 10
		t.Logf("%.1f KiB, %.2f goroutines, %.1f rounds a minute", bytes/1024, routines, wakes)
		if !raceEnabled && bytes > 30<<10 {
			t.Errorf("an idle session takes %.1f KiB, want 30 at most", bytes/1024)
		}
		if routines > 1.1 {
			t.Errorf("an idle session takes %.2f goroutines, want one", routines)
		}
		if wakes > 12 {
			t.Errorf("an idle session wakes %.1f times a minute, want 12 at most", wakes)
		}
		runtime.KeepAlive(clients)
	})
}

// memory returns what is in use after a collection.
func memory() (heap, stack uint64, goroutines int) {
	var m runtime.MemStats
	for range 3 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return m.HeapAlloc, m.StackInuse, runtime.NumGoroutine()
}
