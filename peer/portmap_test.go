// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"context"
	"crypto/ed25519"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/netlab"
	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/signaling"
)

// A pcpRouter grants whatever is asked for by PCP.
type pcpRouter struct {
	mu      sync.Mutex
	outside netip.Addr
	ports   map[[2]byte]bool // that are forwarded
	asked   int
}

// serve answers until the socket is closed.
func (r *pcpRouter) serve(conn net.PacketConn) {
	b := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFrom(b)
		if err != nil {
			return
		}
		if n != 60 || b[0] != 2 {
			continue
		}
		r.mu.Lock()
		r.asked++
		if slices.Max(b[4:8]) > 0 { // a lifetime
			r.ports[[2]byte(b[40:42])] = true
		} else {
			delete(r.ports, [2]byte(b[40:42]))
		}
		a := r.outside.As16()
		r.mu.Unlock()
		b[1] |= 0x80
		clear(b[8:24]) // epoch and reserved
		copy(b[42:44], b[40:42])
		copy(b[44:60], a[:])
		_, _ = conn.WriteTo(b[:n], from)
	}
}

func (r *pcpRouter) state() (forwarded, asked int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.ports), r.asked
}

// What the router forwards is told to peers like what a STUN server sees, is told anew when it changes, and is given back
// in the end.
func TestPortMapping(t *testing.T) {
	addresses := func(p peer.AddressPolicy) func(peer.ID) peer.AddressPolicy {
		return func(peer.ID) peer.AddressPolicy { return p }
	}
	tests := map[string]struct {
		cfg  peer.Config
		want bool
	}{
		"on":         {peer.Config{}, true},
		"off":        {peer.Config{NoPortMapping: true}, false},
		"direct":     {peer.Config{Addresses: addresses(peer.Direct)}, true},
		"relay only": {peer.Config{Addresses: addresses(peer.RelayOnly)}, false},
		"LAN only":   {peer.Config{Addresses: addresses(peer.LANOnly)}, false},
		"accept":     {peer.Config{Addresses: addresses(peer.DirectAfterAccept)}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				lab, err := netlab.New(nil)
				if err != nil {
					t.Fatal(err)
				}
				defer lab.Close()
				host, err := lab.AddHost(netlab.PortRestricted)
				if err != nil {
					t.Fatal(err)
				}
				gateway, err := lab.AddHostBehind(host)
				if err != nil {
					t.Fatal(err)
				}
				conn, err := gateway.ListenPacket(t.Context(), "udp4", netip.MustParseAddrPort("0.0.0.0:5351"))
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				r := &pcpRouter{outside: netip.MustParseAddr("5.9.9.9"), ports: make(map[[2]byte]bool)}
				go r.serve(conn)
				local, _ := host.LocalAddrs()
				at, _ := gateway.LocalAddrs()

				hub := signaling.NewHub(nil)
				key, other := newKey(t), newKey(t)
				cfg := test.cfg
				cfg.Network, cfg.Key, cfg.Signaler = host, key, hub.Join(signaling.IDFromKey(key))
				cfg.AskRouter(at[0], local[0])
				e, err := peer.Listen(t.Context(), &cfg)
				if err != nil {
					t.Fatal(err)
				}
				defer e.Close(context.Background())
				// Somebody to whom an offer can be made, who does not answer.
				_ = hub.Join(signaling.IDFromKey(other))
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				_, err = e.Dial(ctx, signaling.IDFromKey(other))
				cancel()
				if err == nil {
					t.Fatal("a peer that is not there has answered")
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				check := func(outside string) {
					t.Helper()
					var port uint16
					if addrs := e.LocalAddrs(); len(addrs) > 0 {
						port = addrs[0].Port()
					}
					want := signaling.Candidate{Kind: signaling.CandidateSrflx, Addr: netip.AddrPortFrom(netip.MustParseAddr(outside), port)}
					if got := slices.Contains(e.LocalCandidates(), want); got != test.want {
						t.Errorf("%v is among the candidates %v: %v, want %v", want, e.LocalCandidates(), got, test.want)
					}
				}
				check("5.9.9.9")
				if _, asked := r.state(); (asked > 0) != test.want {
					t.Errorf("the router was asked %d times", asked)
				}

				r.mu.Lock()
				r.outside = netip.MustParseAddr("5.8.8.8")
				r.mu.Unlock()
				e.NetworkChanged()
				time.Sleep(time.Second)
				synctest.Wait()
				check("5.8.8.8")

				_ = e.Close(t.Context())
				if forwarded, _ := r.state(); forwarded > 0 {
					t.Errorf("the router forwards %d ports to an endpoint that is closed", forwarded)
				}
			})
		})
	}
}

func newKey(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	key, err := signaling.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}
