// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package nat_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/netlab/nat"
)

// FuzzNAT drives a NAT with any packets at any times beside a simple record of what went out. An outside endpoint never
// belongs to two inside ones, nothing comes in that was not asked for, and the table stays within its bounds.
func FuzzNAT(f *testing.F) {
	f.Add([]byte("\x00\x00\x01\x02\x03\x04\x05\x06\x07\x08"))
	f.Add([]byte("\x14\x02\x10\x20\x90\xa1\x13\x24\xff\xff\x33\x44"))
	f.Add([]byte("\x2b\x01abcdefghijklmnopqrstuvwxyz0123456789"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < 2 {
			return
		}
		c := nat.Config{
			Mapping:        nat.Dependence(b[0] % 3),
			Filtering:      nat.Dependence(b[0] / 3 % 3),
			Ports:          nat.Ports(b[0] / 9 % 3),
			RefreshInbound: b[1]&1 != 0,
			Step:           int(b[1] >> 5),
			Lifetime:       time.Second,
			MaxMappings:    3,
			MaxSessions:    5,
			NewPerSecond:   int(b[1]>>1) & 7,
			Background:     float64(b[1] >> 4),
		}
		n, now := nat.New(public, &c), epoch
		type pair struct{ outside, remote netip.AddrPort }
		asked := make(map[pair]time.Time) // until when remote may send to outside, as the filter sees it
		owner := make(map[netip.AddrPort]netip.AddrPort)
		alive := make(map[netip.AddrPort]time.Time)
		cut := func(a netip.AddrPort) netip.AddrPort {
			switch c.Filtering {
			case nat.EndpointIndependent:
				return netip.AddrPort{}
			case nat.AddressDependent:
				return netip.AddrPortFrom(a.Addr(), 0)
			default:
				return a
			}
		}
		inside := func(x byte) netip.AddrPort {
			return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, 2 + x&1}), 4000+uint16(x>>1&3))
		}
		remote := func(x byte) netip.AddrPort {
			return netip.AddrPortFrom(netip.AddrFrom4([4]byte{7, 0, 0, 1 + x&1}), 1+uint16(x>>1&3))
		}
		var known []netip.AddrPort
		for b = b[2:]; len(b) >= 2; b = b[2:] {
			what, x := b[0], b[1]
			now = now.Add(time.Duration(what>>4) * 100 * time.Millisecond)
			r := remote(x >> 4)
			switch {
			case what&15 == 15:
				n.Restart()
				clear(asked)
				clear(owner)
				clear(alive)
			case what&1 == 0:
				in := inside(x)
				out, ok := n.Out(now, in, r)
				if !ok {
					break
				}
				if out.Addr() != public || c.Ports != nat.Preserving && out.Port() < 1024 {
					t.Fatalf("%v left as %v", in, out)
				}
				if who := owner[out]; who.IsValid() && who != in && !now.After(alive[out]) {
					t.Fatalf("%v belongs to %v and to %v", out, who, in)
				}
				owner[out], alive[out] = in, now.Add(c.Lifetime)
				asked[pair{out, cut(r)}] = now.Add(c.Lifetime)
				known = append(known, out)
			case len(known) > 0:
				out := known[int(x&15)%len(known)]
				until, ok := asked[pair{out, cut(r)}]
				in, passed := n.In(now, r, out)
				if !passed {
					break
				}
				if !ok || now.After(until) {
					t.Fatalf("a packet from %v to %v came in, nothing had been sent to it", r, out)
				}
				if in != owner[out] {
					t.Fatalf("a packet to %v came to %v, want %v", out, in, owner[out])
				}
				if c.RefreshInbound {
					alive[out], asked[pair{out, cut(r)}] = now.Add(c.Lifetime), now.Add(c.Lifetime)
				}
			}
			if m, s := n.Len(now); m > c.MaxMappings || s > c.MaxSessions || s < m {
				t.Fatalf("%d mappings and %d sessions, want at most %d and %d", m, s, c.MaxMappings, c.MaxSessions)
			}
		}
	})
}
