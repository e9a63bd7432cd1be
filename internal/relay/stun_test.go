// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"net"
	"net/netip"
	"testing"
	"testing/synctest"

	"github.com/seed-98f0d4c2/runnel/internal/pionx/stunx"
)

// A STUN socket answers Binding requests, within the rate that holds for all sockets, and is deaf to everything else.
func TestSTUNOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l *lab
		second := netip.AddrPortFrom(relayUDP.Addr(), relayUDP.Port()+1)
		l = newLab(t, func(c *Config) {
			pc := &wireConn{w: c.PacketConns[0].(*wireConn).w, addr: second, in: make(chan wirePacket, 64), gone: make(chan struct{})}
			pc.w.conns[second] = pc
			c.STUNConns = []net.PacketConn{pc}
		})
		r := l.raw("8.0.0.1:1000", "alice")
		r.to = second
		tx, ask := stunx.NewBinding()
		got, mapped, err := stunx.ParseBinding(r.send(ask))
		if err != nil || got != tx || mapped != netip.MustParseAddrPort("8.0.0.1:1000") {
			t.Fatalf("answer %x: %v, %v; want how the client looks", got, mapped, err)
		}
		for _, m := range []stunx.Method{stunx.Allocate, stunx.Refresh, stunx.CreatePermission, stunx.ChannelBind} {
			if b := r.send(stunx.NewBuilder(nil, m, stunx.Request, stunx.NewTransaction()).Bytes()); b != nil {
				t.Errorf("method %v is answered: % x", m, b)
			}
		}
		if b := r.send([]byte{0x40, 0, 0, 1, 0, 0, 0, 0}); b != nil {
			t.Errorf("channel data is answered: % x", b)
		}
		if n := l.metric("drop_total", "reason=not_stun"); n != 4 {
			t.Errorf("%v packets counted as no STUN, want 4", n)
		}
		answered := 0
		for i := range 60 {
			r.to = []netip.AddrPort{relayUDP, second}[i%2]
			_, ask := stunx.NewBinding()
			if r.send(ask) != nil {
				answered++
			}
		}
		if answered > 20 {
			t.Errorf("%d answers at once over both sockets, want no more than AnswerBurst", answered)
		}
	})
}
