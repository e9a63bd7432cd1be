// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/pionx/stunx"
)

// What an allocation costs in memory, its socket's kernel buffers aside.
func TestMemoryPerAllocation(t *testing.T) {
	const n = 500
	w := newWire()
	pc, err := w.listen(relayUDP)
	ok(t, err)
	client, err := w.listen(netip.MustParseAddrPort("8.0.0.1:1"))
	ok(t, err)
	defer client.Close()
	s := start(t, &Config{
		PacketConns: []net.PacketConn{pc}, RelayIP: relayIP, Secrets: []string{secret}, AllowHost: true, AnswerRate: -1,
		ListenRelay: func(int) (net.PacketConn, error) { return net.ListenUDP("udp4", &net.UDPAddr{IP: localhost.AsSlice()}) },
	})
	challenge := stunx.NewBuilder(nil, stunx.Allocate, stunx.Request, [12]byte{}).Add(stunx.RequestedTransport, []byte{17, 0, 0, 0}).Bytes()
	_, _ = client.WriteTo(challenge, net.UDPAddrFromAddrPort(relayUDP))
	nonce, _ := stunx.Get((<-client.(*wireConn).in).b, stunx.Nonce)
	used := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	before := used()
	for i := range n {
		user, pass := Credential(secret, fmt.Sprint("user", i), time.Now().Add(time.Hour))
		b := stunx.NewBuilder(nil, stunx.Allocate, stunx.Request, stunx.NewTransaction()).Add(stunx.RequestedTransport, []byte{17, 0, 0, 0}).
			Add(stunx.UsernameAttr, []byte(user)).Add(stunx.Realm, []byte("runnel")).Add(stunx.Nonce, nonce).
			AddIntegrity(stunx.LongTermKey(user, "runnel", pass)).Bytes()
		w.send(netip.AddrPortFrom(netip.AddrFrom4([4]byte{9, 0, byte(i >> 8), byte(i)}), 1), relayUDP, b)
	}
	wait(t, "all allocations", func() bool { return s.Allocations() == n })
	w.mu.Lock()
	clear(w.seen)
	w.mu.Unlock()
	each := (int64(used()) - int64(before)) / n
	t.Logf("%d bytes per allocation", each)
	if each > 20<<10 {
		t.Errorf("%d bytes per allocation, want less than 20 kB", each)
	}
}
