// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/pionx/turnx"
)

// Several sockets on one port serve several clients, each by the socket that the kernel gave it.
func TestSeveralSockets(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("SO_REUSEPORT spreads load on Linux only")
	}
	pcs, err := ListenUDP(t.Context(), "127.0.0.1:0", 4)
	ok(t, err)
	c := realConfig(t)
	c.PacketConns[0].Close()
	c.PacketConns, c.MaxPerUser, c.AnswerRate = pcs, -1, -1
	s := start(t, c)
	for range 20 {
		pc, err := net.ListenUDP("udp4", &net.UDPAddr{IP: localhost.AsSlice()})
		ok(t, err)
		user, pass := Credential(secret, "alice", time.Now().Add(time.Hour))
		a, err := turnx.Allocate(t.Context(), &turnx.ClientConfig{
			Conn: pc, Server: addrPort(pcs[0].LocalAddr()), Username: user, Password: pass,
		})
		ok(t, err)
		defer a.Close()
	}
	used := 0
	s.mu.Lock()
	for g := range s.gates {
		g.mu.RLock()
		if len(g.allocs) > 0 {
			used++
		}
		g.mu.RUnlock()
	}
	s.mu.Unlock()
	if used < 2 || s.Allocations() != 20 {
		t.Errorf("%d of 4 sockets carry %d allocations, want several and 20", used, s.Allocations())
	}
}
