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

	"github.com/seed-98f0d4c2/runnel/internal/wire"
	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/peer/peertest"
)

// addressList is an ADDRESSES chunk with three relayed addresses that no other list has.
func addressList(seq uint64) []byte {
	var list []wire.Address
	for i := range byte(3) {
		ip := netip.AddrFrom4([4]byte{5, 99 + byte(seq>>8), byte(seq), i + 1})
		list = append(list, wire.Address{Kind: wire.AddressRelayed, Addr: netip.AddrPortFrom(ip, 9)})
	}
	return wire.AppendAddresses(nil, seq, list)
}

// A relay lets 256 addresses in, and none that it has let in is taken back for five minutes. A peer that says that it is
// somewhere else all the time, and dials again and again, does not use that up.
func TestPeerUsesUpPermissions(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: moveRTT / 4})
		bob := n.Endpoint(peertest.Public, nil)
		h := n.Host(peertest.Public)
		mallory := h.Endpoint(nil)
		time.Sleep(time.Second)
		var asked atomic.Int64
		n.Tap(func(p peertest.Packet) peertest.Verdict {
			create := [2]byte{0, 8} // RFC 8656 §18: CreatePermission, a request
			if p.To == n.Relay() && [2]byte(p.Payload) == create && p.From == bob.LocalAddrs()[0] {
				asked.Add(1)
			}
			return peertest.Pass
		})
		for round := range uint64(4) {
			m, b := meet(t, mallory, bob)
			for seq := range uint64(50) {
				m.SendChunk(addressList(1000*round + seq + 100))
				time.Sleep(time.Second)
			}
			if round == 3 {
				go echoSession(t.Context(), b)
				if err := say(t.Context(), m, "still here"); err != nil {
					t.Error(err)
				}
			}
			m.Abort(peer.CodeClosed, "")
			<-b.Done()
			time.Sleep(time.Second)
		}
		if got := asked.Load(); got == 0 || got > 30 {
			t.Errorf("%d permissions asked for on account of one peer in four minutes, want at most 24", got)
		}
	})
}

// counting counts the records with one message.
type counting struct {
	slog.Handler
	msg string
	n   *atomic.Int64
}

func (c counting) Enabled(context.Context, slog.Level) bool { return true }
func (c counting) WithAttrs([]slog.Attr) slog.Handler       { return c }
func (c counting) Handle(_ context.Context, r slog.Record) error {
	if r.Message == c.msg {
		c.n.Add(1)
	}
	return nil
}

// Of lists of addresses that come faster than anybody moves the last counts, and few others have any effect.
func TestAddressesFlood(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: moveRTT / 4})
		var lists atomic.Int64
		bob := n.Endpoint(peertest.Public, &peer.Config{Log: slog.New(counting{msg: "peer's addresses", n: &lists})})
		a, b := meet(t, n.Endpoint(peertest.Public, nil), bob)
		time.Sleep(5 * time.Second)
		before, last := lists.Load(), uint64(0)
		for i := range uint64(2000) {
			last = 1000 + i
			a.SendChunk(addressList(last))
			if i%2 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
		time.Sleep(time.Second)
		if got := lists.Load() - before; got > 16 {
			t.Errorf("%d lists in a second had an effect, want at most 16", got)
		}
		want := netip.AddrFrom4([4]byte{5, 99 + byte(last>>8), byte(last), 1})
		if known := b.Known(); len(known) != 3 || known[0].Addr.Addr() != want {
			t.Errorf("after list %d the peer is known to be at %v, want %v first", last, known, want)
		}
	})
}
