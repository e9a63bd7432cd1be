// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"context"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/pionx/stunx"
	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/peer/peertest"
)

// stunServer runs a STUN server that says what say does, and returns its address. An invalid address is no answer.
func stunServer(t *testing.T, n *peertest.Network, say func() netip.AddrPort) netip.AddrPort {
	t.Helper()
	h := n.Host(peertest.Public)
	at := netip.AddrPortFrom(h.Addr(), 3478)
	pc, err := h.Network().ListenPacket(context.Background(), "udp4", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pc.Close() })
	go func() {
		b := make([]byte, 1500)
		for {
			n, from, err := pc.ReadFrom(b)
			if err != nil {
				return
			}
			mapped := say()
			if !mapped.IsValid() || !stunx.IsRequest(b[:n]) {
				continue
			}
			answer := stunx.NewBuilder(nil, stunx.Binding, stunx.Success, stunx.TransactionID(b[:n]))
			_, _ = pc.WriteTo(answer.AddXORAddr(stunx.XORMappedAddress, mapped).AddFingerprint().Bytes(), from)
		}
	}()
	return at
}

// A STUN server that names another address whenever it is asked does not keep the endpoint busy.
func TestSTUNServerLies(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: moveRTT / 4})
		var asked, changes atomic.Int64
		liar := stunServer(t, n, func() netip.AddrPort {
			i := asked.Add(1)
			return netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, byte(i >> 8), byte(i)}), 9)
		})
		bob := n.Endpoint(peertest.PortRestricted, &peer.Config{
			STUN: []string{liar.String()}, Log: slog.New(counting{msg: "network changed", n: &changes}),
		})
		a, b := meet(t, n.Endpoint(peertest.PortRestricted, nil), bob)
		time.Sleep(30 * time.Second)
		asked0, changes0, moved0, sent0 := asked.Load(), changes.Load(), b.Stats().PathChanges, b.Stats().PacketsSent
		time.Sleep(5 * time.Minute)
		if got := asked.Load() - asked0; got < 10 || got > 60 {
			t.Errorf("the server was asked %d times in five minutes, want about every 20 s", got)
		}
		if got := changes.Load() - changes0; got > 31 {
			t.Errorf("%d changes of the network in five minutes, want at most one each 10 s", got)
		}
		if got := b.Stats().PathChanges - moved0; got > 0 {
			t.Errorf("the session changed its path %d times, want never", got)
		}
		if got := b.Stats().PacketsSent - sent0; got > 600 {
			t.Errorf("%d packets sent in an idle session in five minutes, want at most 2 a second", got)
		}
		if a.Err() != nil {
			t.Error(a.Err())
		}
	})
}

// Of several STUN servers one answers, as where there is no IPv6: when a peer is gone, that is no return of the network each
// time that its turn has come.
func TestDeadSTUNServers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: moveRTT / 4})
		var changes atomic.Int64
		none := func() netip.AddrPort { return netip.AddrPort{} }
		bob := n.Endpoint(peertest.Public, &peer.Config{
			STUN: []string{stunServer(t, n, none).String(), stunServer(t, n, none).String(), stunServer(t, n, none).String()},
			Log:  slog.New(counting{msg: "network changed", n: &changes}),
		})
		h := n.Host(peertest.PortRestricted)
		_, b := meet(t, h.Endpoint(nil), bob)
		time.Sleep(20 * time.Second)
		h.SetOffline(true)
		time.Sleep(20 * time.Second)
		before := changes.Load()
		time.Sleep(time.Minute)
		if got := changes.Load() - before; got > 6 {
			t.Errorf("the network has changed %d times in a minute while nothing but the peer was gone, want hardly ever", got)
		}
		h.SetOffline(false)
		time.Sleep(3 * time.Second)
		if b.Err() != nil {
			t.Errorf("the session ended with %v", b.Err())
		}
	})
}
