// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/mdns"
	"github.com/seed-98f0d4c2/runnel/internal/netlab"
	"github.com/seed-98f0d4c2/runnel/mobility"
	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/peer/peertest"
	"github.com/seed-98f0d4c2/runnel/signaling"
)

// A home is a local network behind a NAT, with nothing else in the world.
type home struct {
	t     *testing.T
	net   *netlab.Network
	first *netlab.Host

	mu      sync.Mutex
	packets []netlab.Packet // of multicast DNS, from all hosts
}

func newHome(t *testing.T) *home {
	t.Helper()
	n, err := netlab.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	h := &home{t: t, net: n}
	n.TapMulticast(func(p netlab.Packet) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.packets = append(h.packets, p.Clone())
	})
	return h
}

func (h *home) host() *netlab.Host {
	h.t.Helper()
	var err error
	var host *netlab.Host
	if h.first == nil {
		host, err = h.net.AddHost(netlab.Symmetric)
		h.first = host
	} else {
		host, err = h.net.AddHostBehind(h.first)
	}
	if err != nil {
		h.t.Fatal(err)
	}
	return host
}

// endpoint starts an endpoint with no rendezvous unless c has one, on a host of its own unless c has a network.
func (h *home) endpoint(c peer.Config) *peer.Endpoint {
	h.t.Helper()
	if c.Network == nil {
		c.Network = h.host()
	}
	e, err := peer.Listen(h.t.Context(), &c)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = e.Close(ctx)
	})
	return e
}

// sent returns what has been sent by multicast DNS.
func (h *home) sent() (queries, answers []netlab.Packet) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range h.packets {
		switch m, ok := mdns.Parse(p.Payload); {
		case !ok:
			h.t.Errorf("%v sends what is no query and no answer: %x", p.From, p.Payload)
		case m.Query != nil:
			queries = append(queries, p)
		default:
			answers = append(answers, p)
		}
	}
	return queries, answers
}

// someID is the ID of a peer that is nowhere.
func someID(t *testing.T) peer.ID {
	t.Helper()
	key, err := signaling.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return signaling.IDFromKey(key)
}

// talkOver checks that a message passes in either direction.
func talkOver(t *testing.T, a, b *peer.Session) {
	t.Helper()
	for _, ends := range [][2]*peer.Session{{a, b}, {b, a}} {
		f, err := ends[0].OpenFlow("hello", nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Send(t.Context(), []byte("hello")); err != nil {
			t.Fatal(err)
		}
		in, err := ends[1].AcceptFlow(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if m, err := in.Recv(t.Context()); err != nil || string(m.Data) != "hello" {
			t.Fatalf("received %q, %v; want hello", m.Data, err)
		}
	}
}

// Two peers on one network meet with nothing else in the world, at once.
func TestLAN(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHome(t)
		alice, bob := h.endpoint(peer.Config{LAN: true}), h.endpoint(peer.Config{LAN: true})
		h.endpoint(peer.Config{LAN: true}) // whom it does not concern
		begin := time.Now()
		a, b := meet(t, alice, bob)
		if d := time.Since(begin); d > 100*time.Millisecond {
			t.Errorf("it took %v, want one query to do", d)
		}
		talkOver(t, a, b)
		time.Sleep(time.Minute)
		queries, answers := h.sent()
		if len(queries) != 1 || len(answers) != 1 {
			t.Errorf("%d queries and %d answers were sent, want 1 and 1", len(queries), len(answers))
		}
		if to := answers[0].To; to.Addr().IsMulticast() {
			t.Errorf("the first answer went to %v, want it to go to the one who asked", to)
		}
	})
}

// Another program on the host may take what is sent to the host's port.
func TestLANBesideOthers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHome(t)
		here := h.host()
		alice, bob := h.endpoint(peer.Config{LAN: true, Network: here}), h.endpoint(peer.Config{LAN: true})
		if _, err := here.ListenMulticast(t.Context(), "udp4", mdns.Group("udp4")); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		meet(t, alice, bob)
		if d := time.Since(begin); d < 250*time.Millisecond || d > 350*time.Millisecond {
			t.Errorf("it took %v, want the second query, after 250 ms, to do", d)
		}
	})
}

// Who does not know the ID learns nothing: not from what he asks, and not from what he hears.
func TestLANStranger(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHome(t)
		alice, bob := h.endpoint(peer.Config{LAN: true}), h.endpoint(peer.Config{LAN: true})
		nobody := someID(t)
		begin := time.Now()
		var de *peer.DialError
		if _, err := alice.Dial(t.Context(), nobody); !errors.As(err, &de) || !errors.Is(err, peer.ErrNoAnswer) {
			t.Errorf("dialling an ID that nobody has: %v, want ErrNoAnswer", err)
		}
		if d := time.Since(begin); d != 15*time.Second {
			t.Errorf("it failed after %v, want the handshake timeout of 15 s", d)
		}
		queries, answers := h.sent()
		if len(answers) > 0 {
			t.Errorf("%d answers were sent for an ID that nobody has", len(answers))
		}
		if len(queries) != 6 { // at 0, 250 ms, 1 s, 3 s, 8 s, 13 s
			t.Errorf("%d queries were sent, want 6", len(queries))
		}
		meet(t, alice, bob)
		time.Sleep(time.Minute)
		queries, answers = h.sent()
		seen := make(map[string]bool)
		for _, p := range append(queries, answers...) {
			for _, id := range []peer.ID{alice.ID(), bob.ID(), nobody} {
				for i := range len(id) - 3 {
					if bytes.Contains(p.Payload, id[i:i+4]) {
						t.Errorf("%x contains a part of the ID %x", p.Payload, id)
					}
				}
				if bytes.Contains(p.Payload, []byte(id.String()[:6])) {
					t.Errorf("%q contains a part of the ID %v", p.Payload, id)
				}
			}
		}
		for _, p := range queries {
			const label = 13 // where the first label begins, of nonce and tag
			for _, part := range [][]byte{p.Payload[label : label+25], p.Payload[label+26 : label+52]} {
				if seen[string(part)] {
					t.Errorf("two queries have %q in common", part)
				}
				seen[string(part)] = true
			}
		}
	})
}

// Those who meet on local networks only need nothing else.
func TestLANOnlyFound(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHome(t)
		c := peer.Config{LAN: true, Addresses: func(peer.ID) peer.AddressPolicy { return peer.LANOnly }}
		a, b := meet(t, h.endpoint(c), h.endpoint(c))
		talkOver(t, a, b)
	})
}

// Two peers who move to another network together find each other there, with no server in the world.
func TestLANBothMove(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHome(t)
		hosts := []*netlab.Host{h.host(), h.host()}
		a, b := meet(t, h.endpoint(peer.Config{LAN: true, Network: hosts[0]}), h.endpoint(peer.Config{LAN: true, Network: hosts[1]}))
		talkOver(t, a, b)
		elsewhere, err := h.net.AddHost(netlab.PortRestricted)
		if err != nil {
			t.Fatal(err)
		}
		h.first = elsewhere
		h.host() // so that the two do not get their old numbers
		for _, host := range hosts {
			if err := host.MoveBehind(elsewhere); err != nil {
				t.Fatal(err)
			}
		}
		begin := time.Now()
		talkOver(t, a, b)
		if d := time.Since(begin); d > 2*time.Second {
			t.Errorf("it took %v, want what it takes to notice the move, and a query", d)
		}
		if a.Err() != nil || b.Err() != nil {
			t.Errorf("the session has ended: %v, %v", a.Err(), b.Err())
		}
	})
}

// An endpoint that does not want to be found is not, and says nothing.
func TestLANOff(t *testing.T) {
	for name, c := range map[string]peer.Config{
		"zero":       {},
		"relay only": {LAN: true, Addresses: func(peer.ID) peer.AddressPolicy { return peer.RelayOnly }},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				h := newHome(t)
				alice, bob := h.endpoint(peer.Config{LAN: true}), h.endpoint(c)
				if _, err := alice.Dial(t.Context(), bob.ID()); !errors.Is(err, peer.ErrNoAnswer) {
					t.Errorf("dialling one who is not on the LAN: %v, want ErrNoAnswer", err)
				}
				before, _ := h.sent()
				if _, err := bob.Dial(t.Context(), alice.ID()); !errors.Is(err, peer.ErrNoSignaler) {
					t.Errorf("dialling without LAN or rendezvous: %v, want ErrNoSignaler", err)
				}
				if after, answers := h.sent(); len(after) != len(before) || len(answers) > 0 {
					t.Errorf("%d queries and %d answers came from one without LAN", len(after)-len(before), len(answers))
				}
			})
		})
	}
}

// A deadSignaler is registered at a rendezvous that has gone.
type deadSignaler struct {
	signaling.Signaler
	err error
}

func (s deadSignaler) Send(ctx context.Context, _ peer.ID, _ []byte) error {
	if s.err != nil {
		return s.err
	}
	<-ctx.Done()
	return ctx.Err()
}

// A rendezvous that is dead, or knows nothing of the peer, does not keep peers on one network from each other.
func TestLANRendezvousDead(t *testing.T) {
	for name, sendErr := range map[string]error{
		"silent": nil, "failing": errors.New("no rendezvous"), "not found": signaling.ErrNotFound,
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				h := newHome(t)
				hub := signaling.NewHub(nil)
				end := func() *peer.Endpoint {
					key, err := signaling.GenerateKey()
					if err != nil {
						t.Fatal(err)
					}
					return h.endpoint(peer.Config{Key: key, LAN: true, Signaler: deadSignaler{hub.Join(signaling.IDFromKey(key)), sendErr}})
				}
				alice, bob := end(), end()
				begin := time.Now()
				a, b := meet(t, alice, bob)
				if d := time.Since(begin); d > 100*time.Millisecond {
					t.Errorf("it took %v, want what it takes on the local network", d)
				}
				talkOver(t, a, b)
				if sendErr == nil {
					return
				}
				begin = time.Now()
				want := peer.ErrNoAnswer
				if name == "not found" {
					want = peer.ErrNotFound
				}
				if _, err := alice.Dial(t.Context(), someID(t)); !errors.Is(err, want) {
					t.Errorf("dialling nobody: %v, want %v", err, want)
				}
				if d := time.Since(begin); want == peer.ErrNotFound && d != 2*time.Second {
					t.Errorf("that nobody is there was said after %v, want 2 s", d)
				}
			})
		})
	}
}

// However two peers on one network find each other, and whoever dials, there is one session, and it stays.
func TestLANOneSession(t *testing.T) {
	delays := []time.Duration{-1, 0, time.Microsecond, time.Millisecond, 20 * time.Millisecond, 100 * time.Millisecond, time.Second}
	thoughts := []time.Duration{0, 10 * time.Millisecond, 400 * time.Millisecond}
	if testing.Short() {
		delays, thoughts = []time.Duration{-1, time.Millisecond, 100 * time.Millisecond}, thoughts[:1]
	}
	for _, delay := range delays { // of the rendezvous; none if negative
		for _, both := range []bool{false, true} {
			for _, busy := range []bool{false, true} { // the first answer on the local network is lost
				for _, thinks := range thoughts { // before it lets the peer in
					t.Run(fmt.Sprintf("rendezvous %v, both %v, busy %v, thinks %v", delay, both, busy, thinks), func(t *testing.T) {
						bubble(t, func(t *testing.T) { testLANOneSession(t, delay, thinks, both, busy) })
					})
				}
			}
		}
	}
}

func testLANOneSession(t *testing.T, delay, thinks time.Duration, both, busy bool) {
	h := newHome(t)
	hub := signaling.NewHub(&signaling.HubConfig{Delay: max(0, delay)})
	var ends [2]*peer.Endpoint
	for i := range ends {
		key, err := signaling.GenerateKey()
		if err != nil {
			t.Fatal(err)
		}
		host := h.host()
		c := peer.Config{Key: key, LAN: true, Network: host}
		if thinks > 0 {
			c.Authorize = func(context.Context, peer.ID) error {
				time.Sleep(thinks)
				return nil
			}
		}
		if delay >= 0 {
			c.Signaler = hub.Join(signaling.IDFromKey(key))
		}
		ends[i] = h.endpoint(c)
		if busy {
			if _, err := host.ListenMulticast(t.Context(), "udp4", mdns.Group("udp4")); err != nil {
				t.Fatal(err)
			}
		}
	}
	time.Sleep(time.Second)
	var sessions [2]*peer.Session
	var wg sync.WaitGroup
	for i := range ends {
		wg.Go(func() {
			var err error
			if i == 0 || both {
				sessions[i], err = ends[i].Dial(t.Context(), ends[1-i].ID())
			} else {
				sessions[i], err = ends[i].Accept(t.Context())
			}
			if err != nil {
				t.Errorf("end %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	talkOver(t, sessions[0], sessions[1])
	time.Sleep(20 * time.Second) // what is left of another session, if there were one, would show itself
	for i, s := range sessions {
		if s.Err() != nil {
			t.Errorf("end %d: the session has ended: %v", i, s.Err())
		}
		peers, all, attempts, inbound, routes := ends[i].Sizes()
		if peers != 1 || all != 1 || attempts != 0 || inbound != 0 || routes != 1 {
			t.Errorf("end %d has %d peers, %d sessions, %d attempts, %d being established, %d routes; want 1, 1, 0, 0, 1",
				i, peers, all, attempts, inbound, routes)
		}
		if got := s.Stats().Path.Kind; got != mobility.Direct {
			t.Errorf("end %d: the path is %v, want direct", i, got)
		}
	}
	talkOver(t, sessions[1], sessions[0])
}

// Somebody who knows the ID may answer in the peer's place. He gets nowhere, and keeps nobody from the peer.
func TestLANImpostor(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHome(t)
		hub := signaling.NewHub(&signaling.HubConfig{Delay: 10 * time.Millisecond})
		end := func() *peer.Endpoint {
			key, err := signaling.GenerateKey()
			if err != nil {
				t.Fatal(err)
			}
			return h.endpoint(peer.Config{Key: key, LAN: true, Signaler: hub.Join(signaling.IDFromKey(key))})
		}
		alice, bob := end(), end()
		there := h.host()
		pc, err := there.ListenMulticast(t.Context(), "udp4", mdns.Group("udp4"))
		if err != nil {
			t.Fatal(err)
		}
		addrs, _ := there.LocalAddrs()
		var wg sync.WaitGroup
		wg.Go(func() {
			buf := make([]byte, mdns.MaxMessage)
			for {
				n, from, err := pc.ReadFrom(buf)
				if err != nil {
					return
				}
				if m, ok := mdns.Parse(buf[:n]); ok && m.Query != nil {
					for port := range uint16(20) {
						b := mdns.AppendAnswer(nil, m.Query, mdns.ID(bob.ID()), 9000+port, addrs)
						_, _ = pc.WriteTo(b, from)
					}
				}
			}
		})
		meet(t, alice, bob)
		if err := pc.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
	})
}

// A shyNetwork hides a host's addresses, and the group, until it is told not to.
type shyNetwork struct {
	peer.MulticastNetwork
	open atomic.Bool
}

func (n *shyNetwork) LocalAddrs() ([]netip.Addr, error) {
	if !n.open.Load() {
		return []netip.Addr{netip.MustParseAddr("203.0.113.9")}, nil // which leads nowhere
	}
	return n.MulticastNetwork.LocalAddrs()
}

func (n *shyNetwork) ListenMulticast(ctx context.Context, network string, group netip.AddrPort) (net.PacketConn, error) {
	if !n.open.Load() {
		return nil, errors.ErrUnsupported
	}
	return n.MulticastNetwork.ListenMulticast(ctx, network, group)
}

// An interface that comes later is joined, without anybody saying that it has come.
func TestLANJoinsLater(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHome(t)
		shy := &shyNetwork{MulticastNetwork: h.host()}
		alice, bob := h.endpoint(peer.Config{LAN: true}), h.endpoint(peer.Config{LAN: true, Network: shy})
		if _, err := alice.Dial(t.Context(), bob.ID()); !errors.Is(err, peer.ErrNoAnswer) {
			t.Errorf("dialling one who has no interface: %v, want ErrNoAnswer", err)
		}
		shy.open.Store(true)
		time.Sleep(time.Minute)
		meet(t, alice, bob)
	})
}

// A session whose ways through the internet are all gone goes on over the local network.
func TestLANEndsOutage(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: 10 * time.Millisecond})
		here := n.Host(peertest.Symmetric)
		var hosts []*shyNetwork
		end := func(h *peertest.Host) *peer.Endpoint {
			shy := &shyNetwork{MulticastNetwork: h.Network()}
			hosts = append(hosts, shy)
			return h.Endpoint(&peer.Config{LAN: true, Network: shy})
		}
		alice, bob := end(here), end(here.Neighbor())
		time.Sleep(time.Second)
		a, b := meet(t, alice, bob)
		time.Sleep(20 * time.Second)
		if got := a.Stats().Path.Kind; got != mobility.Relayed {
			t.Fatalf("the path is %v, want relayed: they know of no common network yet", got)
		}
		for _, h := range hosts {
			h.open.Store(true)
		}
		time.Sleep(time.Minute)
		n.Tap(func(peertest.Packet) peertest.Verdict { return peertest.Drop })
		begin := time.Now()
		talkOver(t, a, b)
		if d := time.Since(begin); d > 15*time.Second {
			t.Errorf("it took %v, want what it takes to notice that nothing answers, and little more", d)
		}
		if got := a.Stats().Path.Kind; got != mobility.Direct {
			t.Errorf("the path is %v, want direct", got)
		}
	})
}
