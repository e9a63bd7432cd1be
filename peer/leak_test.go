// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"context"
	"net/netip"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/peer/peertest"
	"github.com/seed-98f0d4c2/runnel/signaling"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Dialling and closing, in good order and not, leaves no goroutine and no memory.
func TestDialCloseCycles(t *testing.T) {
	cycles := 500
	if testing.Short() {
		cycles = 60
	}
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: 5 * time.Millisecond})
		alice, bob := n.Endpoint(peertest.PortRestricted, nil), n.Endpoint(peertest.PortRestricted, nil)
		settle(t)
		cycle := func(i int) {
			a, b := meet(t, alice, bob)
			go echoSession(t.Context(), b)
			if err := say(t.Context(), a, "hello"); err != nil {
				t.Fatal(err)
			}
			switch i % 3 {
			case 0:
				if err := a.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
			case 1:
				a.Abort(2000, "enough")
			case 2:
				b.Abort(2000, "enough")
			}
			<-a.Done()
			<-b.Done()
			time.Sleep(5 * time.Second) // lingering ends
		}
		for i := range 50 {
			cycle(i)
		}
		synctest.Wait()
		goroutines, before := runtime.NumGoroutine(), heap()
		for i := range cycles - 50 {
			cycle(i)
		}
		synctest.Wait()
		after := heap()
		if got := runtime.NumGoroutine(); got > goroutines+2 {
			t.Errorf("%d goroutines after %d cycles, %d before", got, cycles, goroutines)
		}
		if grown := int64(after) - int64(before); grown > 1<<20 {
			t.Errorf("the heap has grown by %d bytes in %d cycles", grown, cycles-50)
		} else {
			t.Logf("the heap has grown by %d bytes in %d cycles; %d goroutines", grown, cycles-50, runtime.NumGoroutine())
		}
		for _, e := range []*peer.Endpoint{alice, bob} {
			if peers, sessions, attempts, inbound, routes := e.Sizes(); peers+sessions+attempts+inbound+routes != 0 {
				t.Errorf("left behind: %d peers, %d sessions, %d attempts, %d inbound, %d routes", peers, sessions, attempts, inbound, routes)
			}
		}
	})
}

// BenchmarkIdleSession measures what an established, idle session costs at one end, over real sockets.
func BenchmarkIdleSession(b *testing.B) {
	const count = 200
	var hub signaling.Hub
	listen := func() *peer.Endpoint {
		key, err := signaling.GenerateKey()
		if err != nil {
			b.Fatal(err)
		}
		e, err := peer.Listen(b.Context(), &peer.Config{
			Key: key, Signaler: hub.Join(signaling.IDFromKey(key)), Loopback: true, MaxHandshakes: count, Backlog: count,
			ListenAddr: netip.MustParseAddrPort("127.0.0.1:0"),
		})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = e.Close(context.Background()) })
		return e
	}
	for b.Loop() {
		server := listen()
		clients := make([]*peer.Endpoint, count)
		for i := range clients {
			clients[i] = listen()
		}
		before := heap()
		sessions := make([]*peer.Session, 0, count)
		for _, c := range clients {
			s, err := c.Dial(b.Context(), server.ID())
			if err != nil {
				b.Fatal(err)
			}
			sessions = append(sessions, s)
		}
		time.Sleep(11 * time.Second) // ICE agents and DTLS state live for a while after the handshake
		with, goroutines := heap(), runtime.NumGoroutine()
		for i, s := range sessions {
			s.Abort(2000, "")
			sessions[i] = nil
		}
		time.Sleep(5 * time.Second)                                     // they linger
		b.ReportMetric(float64(with-before)/count/2, "B-grown/session") // what stays for the next sessions included
		b.ReportMetric(float64(with-heap())/count/2, "B/session")
		b.ReportMetric(float64(goroutines-runtime.NumGoroutine())/count/2, "goroutines/session")
		runtime.KeepAlive(clients)
	}
}
