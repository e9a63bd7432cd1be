// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package netlab_test

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/netlab"
)

var multicastGroup = netip.MustParseAddrPort("224.0.0.251:5353")

// hears returns what a socket has to read, from whom.
func hears(t *testing.T, c net.PacketConn) (got []string) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(time.Second))
	buf := make([]byte, 100)
	for {
		n, from, err := c.ReadFrom(buf)
		if err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error(err)
			}
			return got
		}
		got = append(got, string(buf[:n])+" from "+from.(*net.UDPAddr).IP.String())
	}
}

func TestMulticast(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newLab(t, netlab.Config{OneWay: time.Second})
		join := func(h *netlab.Host) net.PacketConn {
			t.Helper()
			c, err := h.ListenMulticast(t.Context(), "udp4", multicastGroup)
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		here := l.host(netlab.Symmetric)
		there, err := l.AddHostBehind(here)
		if err != nil {
			t.Fatal(err)
		}
		away := l.host(netlab.Symmetric)
		a, same, b, other := join(here), join(here), join(there), join(away)
		addrs, _ := here.LocalAddrs()
		expect := func(what string, want map[net.PacketConn]int) {
			t.Helper()
			for name, c := range map[string]net.PacketConn{"sender": a, "same host": same, "neighbor": b, "other site": other} {
				if got := hears(t, c); len(got) != want[c] || len(got) > 0 && got[0] != "hello from "+addrs[0].String() {
					t.Errorf("%s: the %s hears %q, want %d", what, name, got, want[c])
				}
			}
		}
		send := func(to netip.AddrPort) {
			t.Helper()
			if _, err := a.WriteTo([]byte("hello"), net.UDPAddrFromAddrPort(to)); err != nil {
				t.Fatal(err)
			}
		}
		send(multicastGroup)
		expect("to the group", map[net.PacketConn]int{same: 1, b: 1})

		there.SetDown(true)
		send(multicastGroup)
		expect("with the neighbor's cable cut", map[net.PacketConn]int{same: 1})
		there.SetDown(false)

		last := join(there)
		at, _ := there.LocalAddrs()
		send(netip.AddrPortFrom(at[0], multicastGroup.Port()))
		if got := hears(t, last); len(got) != 1 {
			t.Errorf("the socket opened last hears %q, want what was sent to the host", got)
		}
		expect("to the neighbor", nil)

		if err := there.MoveTo(netlab.Symmetric); err != nil {
			t.Fatal(err)
		}
		send(multicastGroup)
		expect("when the neighbor has moved away", map[net.PacketConn]int{same: 1})
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if _, err := b.WriteTo(nil, net.UDPAddrFromAddrPort(multicastGroup)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("writing to a closed socket: %v, want net.ErrClosed", err)
		}
	})
}
