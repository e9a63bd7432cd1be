// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package netlab_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/netlab"
)

func TestTap(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newLab(t, netlab.Config{OneWay: 10 * time.Millisecond})
		a, b := l.host(netlab.PortRestricted), l.host(netlab.Public)
		sa, sb := l.listen(a, 1), l.listen(b, 1)
		var seen []netlab.Packet
		remove := l.Tap(func(p netlab.Packet) netlab.Verdict {
			seen = append(seen, p.Clone())
			switch string(p.Payload) {
			case "drop":
				return netlab.Drop
			case "twice":
				return netlab.Duplicate
			case "change":
				p.Payload[0] = 'C'
			case "reboot":
				if err := a.Rebind(); err != nil { // a tap may call anything
					t.Error(err)
				}
			}
			return netlab.Pass
		})
		for _, p := range []string{"pass", "drop", "twice", "change", "reboot"} {
			sa.send(sb.addr(b), p)
		}
		ext := sb.want("pass")
		sb.want("twice")
		sb.want("twice")
		sb.want("Change")
		sb.want("reboot")
		remove()
		sa.send(sb.addr(b), "drop")
		if got := sb.want("drop"); got == ext {
			t.Errorf("endpoint %v survived a reboot of the NAT by the tap", got)
		}
		if len(seen) != 5 || seen[0].From != ext || seen[0].To != sb.addr(b) || string(seen[3].Payload) != "change" {
			t.Fatalf("tap saw %v, want the five packets as the core sees them", seen)
		}

		// Replay one, forge another.
		if err := l.Inject(seen[0]); err != nil {
			t.Fatal(err)
		}
		if got := sb.want("pass"); got != ext {
			t.Errorf("replayed packet came from %v, want %v", got, ext)
		}
		spoofed := netip.MustParseAddrPort("8.8.8.8:53")
		if err := l.Inject(netlab.Packet{From: spoofed, To: sb.addr(b), Payload: []byte("forged")}); err != nil {
			t.Fatal(err)
		}
		if got := sb.want("forged"); got != spoofed {
			t.Errorf("forged packet came from %v, want %v", got, spoofed)
		}
		if err := l.Inject(netlab.Packet{From: netip.MustParseAddrPort("[2a05::1]:53"), To: sb.addr(b)}); err != nil {
			t.Fatal(err)
		}
		sb.wantNone("IPv6 to an IPv4 address")
		if s := l.Stats(); s.Unroutable != 1 {
			t.Errorf("Unroutable = %d, want 1", s.Unroutable)
		}
		if s := l.Stats(); s.Entered != 9 || s.Delivered != 9 || s.Tapped != 1 || s.Duplicated != 1 {
			t.Errorf("stats %+v, want 9 entered, 9 delivered, 1 tapped, 1 duplicated", s)
		}
	})
}

func TestClosed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newLab(t, netlab.Config{OneWay: time.Second})
		a, b := l.host(netlab.FullCone), l.host(netlab.Public)
		sa, sb := l.listen(a, 1), l.listen(b, 1)
		sa.send(sb.addr(b), "on its way when the lights go out")
		time.Sleep(time.Second / 2)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := l.AddHost(netlab.Public); err == nil {
			t.Error("AddHost after Close succeeded")
		}
		if err := a.Rebind(); err == nil {
			t.Error("Rebind after Close succeeded")
		}
		if err := l.Inject(netlab.Packet{From: sa.addr(a), To: sb.addr(b)}); err == nil {
			t.Error("Inject after Close succeeded")
		}
	})
}

func TestConfigErrors(t *testing.T) {
	for _, c := range []netlab.Config{{OneWay: -1}, {Jitter: -1}, {Loss: -0.1}, {Loss: 1.1}, {MappingLifetime: -1}} {
		if _, err := netlab.New(&c); err == nil {
			t.Errorf("New(%+v) succeeded, want an error", c)
		}
	}
}
