// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mobility_test

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
	"github.com/seed-98f0d4c2/runnel/mobility"
)

// FuzzPuncher has a peer and a network do whatever they like. Packets go only to a host that the peer has named and that
// may be sent to, no more and no faster than allowed, and from sockets that are open.
func FuzzPuncher(f *testing.F) {
	f.Add([]byte("\x00\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x10\x11\x12\x13\x14\x15"))
	f.Fuzz(func(t *testing.T, in []byte) {
		next := func() byte {
			if len(in) == 0 {
				return 0
			}
			b := in[0]
			in = in[1:]
			return b
		}
		usable := netip.MustParseAddr("203.0.113.1")
		hosts := []netip.Addr{usable, netip.MustParseAddr("203.0.113.2"), netip.MustParseAddr("192.168.0.1"), {}}
		addr := func() netip.AddrPort {
			return netip.AddrPortFrom(hosts[next()%4], binary.BigEndian.Uint16([]byte{next(), next()}))
		}
		state := byte(1)
		p := mobility.NewPuncher(&mobility.PunchConfig{
			Conductor: next()&1 == 0,
			Rand: func(b []byte) {
				for i := range b {
					state = state*5 + 1
					b[i] = state
				}
			},
			Usable: func(a netip.AddrPort) bool { return a.Addr() == usable },
		})
		now := time.Unix(1e9, 0)
		open := map[int]bool{0: true}
		probes, began := 0, now
		for len(in) > 0 {
			switch next() % 9 {
			case 0:
				p.SetLocal(mobility.Mapping(next()%5), addr(), []netip.AddrPort{stunA, stunB})
			case 1:
				p.Start(now)
			case 2:
				m := wire.Punch{
					Phase: next() % 7, Attempt: uint64(next()), Round: uint64(next() % 8), Mapping: next() % 5, Ports: next() % 6,
					Stride: int(int8(next())), Low: uint16(next()) << 8, High: uint16(next()) << 8, Count: int(next()) * 16, Addr: addr(),
				}
				p.HandlePeer(now, &m)
			case 3:
				p.HandleMapped(now, int(next()), uint16(next()), addr())
			case 4:
				p.HandleHit(now, int(next()), addr())
			case 5:
				p.HandleDistress(now, "a test")
			case 6:
				now = now.Add(time.Duration(next()) * time.Millisecond)
			case 7:
				now = now.Add(time.Duration(next()) * time.Second)
			case 8:
				switch next() % 4 {
				case 0:
					p.HandleDirect(now)
				case 1:
					p.HandleRelayed(now)
				case 2:
					p.HandleNetworkChange(now)
				case 3:
					p.SetRTT(time.Duration(next()) * time.Millisecond)
				}
			}
			for range 1000 {
				if at := p.NextTimeout(); at.IsZero() || at.After(now) {
					break
				}
				p.HandleTimeout(now)
			}
			if at := p.NextTimeout(); !at.IsZero() && !at.After(now) {
				t.Fatalf("wants to run at %v for ever, now is %v", at, now)
			}
			for {
				a, ok := p.Poll()
				if !ok {
					break
				}
				switch a.Op {
				case mobility.PunchOpen:
					open[a.Slot] = true
				case mobility.PunchClose:
					if !open[a.Slot] || a.Slot == 0 {
						t.Fatalf("closes slot %d", a.Slot)
					}
					delete(open, a.Slot)
				case mobility.PunchProbe:
					if probes++; a.Addr.Addr() != usable || !open[a.Slot] {
						t.Fatalf("a probe to %v from slot %d", a.Addr, a.Slot)
					}
				case mobility.PunchTry:
					if !open[a.Slot] {
						t.Fatalf("tries slot %d, which is closed", a.Slot)
					}
				}
				if len(open) > 1+256+16 {
					t.Fatalf("%d sockets open", len(open))
				}
			}
			if most := 250*now.Sub(began).Seconds() + 400; float64(probes) > most {
				t.Fatalf("%d probes within %v", probes, now.Sub(began))
			}
		}
	})
}
