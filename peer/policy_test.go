// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/netlab"
	"github.com/seed-98f0d4c2/runnel/internal/pionx/icex"
	"github.com/seed-98f0d4c2/runnel/internal/wire"
	"github.com/seed-98f0d4c2/runnel/mobility"
	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/peer/peertest"
	"github.com/seed-98f0d4c2/runnel/signaling"
)

// everybody is a Config.Addresses that treats all peers alike.
func everybody(p peer.AddressPolicy) func(peer.ID) peer.AddressPolicy {
	return func(peer.ID) peer.AddressPolicy { return p }
}

// A curious peer notes everything from which it could learn where another host is, and plays tricks to learn more: it
// sends a copy of every packet of ours to the address that it suspects.
type curious struct {
	signaling.Signaler
	key     ed25519.PrivateKey
	n       *peertest.Network
	subject *peertest.Host

	mu      sync.Mutex
	told    []signaling.Candidate   // by the rendezvous, opened with its key
	sources map[netip.AddrPort]int  // where the subject's packets went that were not for its relay
	socket  netip.AddrPort          // the subject's, as its relay sees it
	answers int                     // packets among them that answer a dial of its address
	tricks  int                     // packets sent there
	trick   map[netip.AddrPort]bool // the subject's relayed addresses
}

// newCurious is to be called before the endpoint of the subject starts.
func newCurious(n *peertest.Network, subject *peertest.Host) *curious {
	_, key, _ := ed25519.GenerateKey(nil)
	c := &curious{
		Signaler: n.Hub().Join(signaling.IDFromKey(key)), key: key, n: n, subject: subject,
		sources: make(map[netip.AddrPort]int), trick: make(map[netip.AddrPort]bool),
	}
	n.Tap(c.tap)
	return c
}

func (c *curious) config() *peer.Config { return &peer.Config{Key: c.key, Signaler: c} }

func (c *curious) Recv(ctx context.Context) (signaling.Envelope, error) {
	env, err := c.Signaler.Recv(ctx)
	if err == nil {
		if _, m, err := signaling.Open(c.key, env.Payload); err == nil {
			c.mu.Lock()
			c.told = append(c.told, m.Candidates...)
			for _, a := range m.Candidates {
				c.trick[a.Addr] = true
			}
			c.mu.Unlock()
		}
	}
	return env, err
}

func (c *curious) tap(p peertest.Packet) peertest.Verdict {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case p.From.Addr() == c.subject.Addr() && p.To == c.n.Relay():
		c.socket = p.From
	case p.From.Addr() == c.subject.Addr() && p.To == c.n.RelayAddr(1): // a STUN server, see docs/SECURITY.md
	case p.From.Addr() == c.subject.Addr():
		c.sources[p.To]++
		if p.Payload[0] == wire.FirstAnswer {
			c.answers++
		}
	case c.trick[p.To] && c.socket.IsValid() && p.From.Addr() != c.n.Relay().Addr(): // not what a relay passes on
		q := p.Clone()
		q.To = c.socket
		c.tricks++
		c.n.Inject(q)
	}
	return peertest.Pass
}

// secret says whether an address shows where the subject is.
func (c *curious) secret(a netip.Addr) bool { return a == c.subject.Addr() || a.IsPrivate() }

// forget begins anew, before something that may tell more.
func (c *curious) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.told = nil
	clear(c.sources)
}

// wantNothing fails if the peer, whose sessions with the subject are given, can tell where the subject is.
func (c *curious) wantNothing(t *testing.T, sessions ...*peer.Session) {
	t.Helper()
	c.mu.Lock()
	for to, n := range c.sources {
		t.Errorf("%d packets left the host for %v, want none but to its relay", n, to)
	}
	told := slices.Clone(c.told)
	c.mu.Unlock()
	for _, s := range sessions {
		told = append(told, s.Known()...)
		for _, p := range s.Stats().Paths {
			if c.secret(p.Remote.Addr()) {
				t.Errorf("the peer has a path to %v", p.Remote)
			}
		}
	}
	for _, a := range told {
		if a.Kind != signaling.CandidateRelay || c.secret(a.Addr.Addr()) {
			t.Errorf("the peer was told of %v %v, want relayed addresses only", a.Kind, a.Addr)
		}
	}
}

// talk has b echo what a says.
func talk(t *testing.T, a *peer.Session, what string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
	defer cancel()
	if err := say(ctx, a, what); err != nil {
		t.Errorf("%s: %v", what, err)
	}
}

// What a peer learns while only relayed addresses may be told, whatever happens to the session and whatever it tries.
func TestPolicyHidesAddresses(t *testing.T) {
	for _, policy := range []peer.AddressPolicy{peer.RelayOnly, peer.DirectAfterAccept} {
		for _, dials := range []bool{true, false} {
			role := map[bool]string{true: "/dials", false: "/is dialled"}[dials]
			t.Run(policy.String()+role, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					n := peertest.New(t, &peertest.Config{OneWay: 10 * time.Millisecond})
					host, far := n.Host(peertest.Public), n.Host(peertest.Public)
					c := newCurious(n, host)
					_, key, _ := ed25519.GenerateKey(nil)
					adv := &advisor{Signaler: n.Hub().Join(signaling.IDFromKey(key))}
					subject := host.Endpoint(&peer.Config{Key: key, Signaler: adv, Addresses: everybody(policy)})
					other := far.Endpoint(c.config())
					settle(t)
					var a, b *peer.Session // the subject's and the peer's
					if dials {
						a, b = meet(t, subject, other)
					} else {
						b, a = meet(t, other, subject)
					}
					go echoSession(t.Context(), b)
					talk(t, a, "established")
					time.Sleep(10 * time.Second)
					c.wantNothing(t, b)

					host.Rebind()
					far.Rebind()
					subject.NetworkChanged()
					other.NetworkChanged()
					time.Sleep(5 * time.Second)
					talk(t, a, "both networks changed")
					c.wantNothing(t, b)

					adv.none.Store(true)
					time.Sleep(10 * time.Second)
					c.wantNothing(t, b)
					adv.none.Store(false)
					time.Sleep(10 * time.Second)
					talk(t, a, "the relay came back")
					if k := a.Stats().Path.Kind; k != mobility.Relayed {
						t.Errorf("the path is %v, want relayed", k)
					}
					c.wantNothing(t, b)

					b.Abort(2000, "")
					time.Sleep(5 * time.Second)
					c.wantNothing(t, b)

					// The other side dials again, as one that has lost the session does.
					b, a = meet(t, other, subject)
					go echoSession(t.Context(), b)
					talk(t, a, "dialled again")
					a.Abort(2000, "")
					time.Sleep(5 * time.Second)
					c.wantNothing(t, b)
					if c.tricks == 0 {
						t.Error("the peer did not try to find out by packets to the host's own socket")
					}
				})
			})
		}
	}
}

// Whoever is refused is told nothing, relayed addresses included.
func TestRefusedPeerLearnsNothing(t *testing.T) {
	for _, policy := range []peer.AddressPolicy{peer.Direct, peer.DirectAfterAccept, peer.RelayOnly, peer.LANOnly} {
		t.Run(policy.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				n := peertest.New(t, &peertest.Config{OneWay: 10 * time.Millisecond})
				host := n.Host(peertest.Public)
				c := newCurious(n, host)
				subject := host.Endpoint(&peer.Config{
					Addresses: everybody(policy),
					Authorize: func(context.Context, peer.ID) error { return errors.New("a stranger") },
				})
				other := n.Endpoint(peertest.Public, c.config())
				settle(t)
				if _, err := other.Dial(t.Context(), subject.ID()); !errors.Is(err, peer.ErrRefused) {
					t.Errorf("dial: %v, want ErrRefused", err)
				}
				time.Sleep(5 * time.Second)
				c.wantNothing(t)
				if len(c.told) > 0 {
					t.Errorf("told of %v, want nothing", c.told)
				}
			})
		})
	}
}

// Once the application allows it, the session moves to a direct path in place, though it began by a relay, and though both
// hosts are behind NATs that let in only who has been sent something.
func TestAllowDirect(t *testing.T) {
	for _, tt := range []struct {
		name  string
		peer  peer.AddressPolicy
		wait  time.Duration // before it is allowed
		dials bool
	}{
		{"dials", peer.Direct, 3 * time.Second, true},
		{"is dialled", peer.Direct, 3 * time.Second, false},
		{"dials, rings for long", peer.Direct, time.Minute, true},
		{"is dialled, rings for long", peer.Direct, time.Minute, false},
		{"dials, both sides allow", peer.DirectAfterAccept, 3 * time.Second, true},
		{"is dialled, both sides allow", peer.DirectAfterAccept, 3 * time.Second, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				n := peertest.New(t, &peertest.Config{OneWay: 20 * time.Millisecond})
				host := n.Host(peertest.PortRestricted)
				c := newCurious(n, host)
				subject := host.Endpoint(&peer.Config{Addresses: everybody(peer.DirectAfterAccept)})
				cfg := c.config()
				cfg.Addresses = everybody(tt.peer)
				other := n.Endpoint(peertest.PortRestricted, cfg)
				settle(t)
				var a, b *peer.Session
				if tt.dials {
					a, b = meet(t, subject, other)
				} else {
					b, a = meet(t, other, subject)
				}
				go echoSession(t.Context(), b)
				talk(t, a, "it rings")
				time.Sleep(tt.wait)
				if tt.peer != peer.Direct {
					b.AllowDirect()
					time.Sleep(2 * time.Second)
				}
				c.wantNothing(t, b)
				a.AllowDirect()
				time.Sleep(time.Second)
				for _, s := range []*peer.Session{a, b} {
					if p := s.Stats().Path; p.Kind != mobility.Direct {
						t.Errorf("a second after it was allowed the path is %+v, want a direct one", p)
					}
				}
				talk(t, a, "somebody picked up")
				if a.Stats().PathChanges != 1 {
					t.Errorf("%d changes of path, want one", a.Stats().PathChanges)
				}
			})
		})
	}
}

// AllowDirect is for sessions with DirectAfterAccept.
func TestAllowDirectChangesNothingElse(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: 10 * time.Millisecond})
		host := n.Host(peertest.Public)
		c := newCurious(n, host)
		subject, other := host.Endpoint(&peer.Config{Addresses: everybody(peer.RelayOnly)}), n.Endpoint(peertest.Public, c.config())
		settle(t)
		a, b := meet(t, subject, other)
		go echoSession(t.Context(), b)
		a.AllowDirect()
		time.Sleep(5 * time.Second)
		talk(t, a, "still hidden")
		c.wantNothing(t, b)
	})
}

// Two hosts on one network talk with no relay and no STUN server; one that is elsewhere is not reached, and gets nothing.
func TestLANOnly(t *testing.T) {
	for _, dials := range []bool{true, false} {
		t.Run(map[bool]string{true: "dials", false: "is dialled"}[dials], func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				n := peertest.New(t, &peertest.Config{OneWay: 10 * time.Millisecond})
				host := n.Host(peertest.FullCone)
				near := newCurious(n, host)
				far := newCurious(n, host)
				subject := host.Endpoint(&peer.Config{Addresses: everybody(peer.LANOnly), HandshakeTimeout: 5 * time.Second})
				here, there := host.Neighbor().Endpoint(near.config()), n.Endpoint(peertest.FullCone, far.config())
				settle(t)
				var a, b *peer.Session
				if dials {
					a, b = meet(t, subject, here)
				} else {
					b, a = meet(t, here, subject)
				}
				go echoSession(t.Context(), b)
				talk(t, a, "on one network")
				if p := a.Stats().Path; p.Kind != mobility.Direct || !p.Remote.Addr().IsPrivate() {
					t.Errorf("the path is %+v, want a direct one inside the network", p)
				}
				time.Sleep(10 * time.Second)
				for _, p := range append(a.Stats().Paths, b.Stats().Paths...) {
					if !p.Remote.Addr().IsPrivate() {
						t.Errorf("a path leads to %v, want none outside the network", p.Remote)
					}
				}
				for _, e := range []*peer.Endpoint{subject, here} {
					e.NetworkChanged()
				}
				time.Sleep(5 * time.Second)
				talk(t, a, "the network changed")
				for _, k := range b.Known() {
					if !k.Addr.Addr().IsPrivate() {
						t.Errorf("the peer was told of %v inside the session, want private addresses only", k)
					}
				}
				near.wantPrivate(t)

				far.forget()
				var err error
				if dials {
					_, err = subject.Dial(t.Context(), there.ID())
				} else {
					_, err = there.Dial(t.Context(), subject.ID())
				}
				if !errors.Is(err, peer.ErrUnreachable) {
					t.Errorf("dial of a host elsewhere: %v, want ErrUnreachable", err)
				}
				far.wantPrivate(t)
			})
		})
	}
}

// A public address is not told to a peer on the local network, and the peer is not reached by it.
func TestLANOnlyHidesPublicAddress(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: 10 * time.Millisecond})
		host := n.Host(peertest.Public)
		c := newCurious(n, host)
		subject := host.Endpoint(&peer.Config{Addresses: everybody(peer.LANOnly), HandshakeTimeout: 5 * time.Second})
		other := n.Endpoint(peertest.Public, c.config())
		settle(t)
		if _, err := other.Dial(t.Context(), subject.ID()); !errors.Is(err, peer.ErrUnreachable) {
			t.Errorf("dial: %v, want ErrUnreachable", err)
		}
		c.wantNothing(t)
		if len(c.told) > 0 {
			t.Errorf("told of %v, want nothing", c.told)
		}
	})
}

// A peer that suspects where a host is, and has the credentials for connectivity checks from its answer, sends them there.
func TestHiddenHostAnswersNoChecks(t *testing.T) {
	for _, policy := range []peer.AddressPolicy{peer.Direct, peer.DirectAfterAccept, peer.RelayOnly, peer.LANOnly} {
		t.Run(policy.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				n := peertest.New(t, &peertest.Config{OneWay: 10 * time.Millisecond})
				host := n.Host(peertest.Public)
				port := netip.MustParseAddrPort("0.0.0.0:4000")
				subject := host.Endpoint(&peer.Config{ListenAddr: port, Addresses: everybody(policy)})
				socket, mine := netip.AddrPortFrom(host.Addr(), 4000), netip.MustParseAddrPort("5.200.0.1:4000")
				settle(t)

				mux := icex.NewMux(
					func(b []byte, to netip.AddrPort) error {
						n.Inject(peertest.Packet{From: mine, To: to, Payload: b})
						return nil
					},
					func() []netip.AddrPort { return []netip.AddrPort{mine} },
				)
				agent, err := icex.NewAgent(&icex.Config{Mux: mux, Controlling: true})
				if err != nil {
					t.Fatal(err)
				}
				defer agent.Close()
				answered := 0 // by the network's goroutine, read once it is quiet
				n.Tap(func(p peertest.Packet) peertest.Verdict {
					if p.To == mine {
						answered++
						mux.HandleSTUN(p.Payload, p.From)
					}
					return peertest.Pass
				})
				s := newStranger(t, n)
				s.ufrag, s.pwd = agent.Credentials()
				s.offer(t, subject.ID(), 1, nil)
				answer := s.answer(t)
				if err := agent.AddRemote(socket, "host"); err != nil {
					t.Fatal(err)
				}
				if err := agent.Start(answer.Ufrag, answer.Pwd); err != nil {
					t.Fatal(err)
				}
				time.Sleep(5 * time.Second)
				synctest.Wait()
				if hidden := policy != peer.Direct; hidden != (answered == 0) {
					t.Errorf("%d answers to checks, want some: %v", answered, !hidden)
				}
			})
		})
	}
}

// wantPrivate fails if the peer was told of more than addresses inside the network, or was sent something.
func (c *curious) wantPrivate(t *testing.T) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range c.told {
		if a.Kind != signaling.CandidateHost || !a.Addr.Addr().IsPrivate() {
			t.Errorf("the peer was told of %v %v, want private addresses only", a.Kind, a.Addr)
		}
	}
	for to, n := range c.sources {
		if to.Addr() != c.subject.Addr() {
			t.Errorf("%d packets left the network for %v, want none", n, to)
		}
	}
}

// Somebody who dials an address of this host and has yet to say who it is gets the answer that strangers get: none, or
// the address would be confirmed to whoever guesses it. So does a peer that may not be shown the address.
func TestPolicyClosesTheGate(t *testing.T) {
	dial := func(t *testing.T, policy func(friend peer.ID) func(peer.ID) peer.AddressPolicy) (packets, answers int, err error) {
		n := peertest.New(t, &peertest.Config{OneWay: 10 * time.Millisecond})
		host := n.Host(peertest.Public)
		c := newCurious(n, host)
		subject := host.Endpoint(&peer.Config{
			ListenAddr: netip.MustParseAddrPort("0.0.0.0:4000"), Addresses: policy(signaling.IDFromKey(c.key)),
		})
		other := n.Endpoint(peertest.Public, c.config())
		settle(t)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		at := []netip.AddrPort{netip.AddrPortFrom(host.Addr(), 4000)}
		_, err = other.DialTarget(ctx, peer.Target{ID: subject.ID(), Addrs: at})
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, k := range c.sources {
			packets += k
		}
		return packets, c.answers, err
	}
	bubble(t, func(t *testing.T) {
		if k, n, err := dial(t, func(peer.ID) func(peer.ID) peer.AddressPolicy { return everybody(peer.Direct) }); err != nil || n == 0 {
			t.Errorf("direct: %d packets, %d of them answers, %v; want a session", k, n, err)
		}
		for _, p := range []peer.AddressPolicy{peer.DirectAfterAccept, peer.RelayOnly, peer.LANOnly, -1} {
			if k, _, err := dial(t, func(peer.ID) func(peer.ID) peer.AddressPolicy { return everybody(p) }); err == nil || k > 0 {
				t.Errorf("%v: %d packets, %v; want no answer", p, k, err)
			}
		}
		k, answers, err := dial(t, func(friend peer.ID) func(peer.ID) peer.AddressPolicy {
			return func(id peer.ID) peer.AddressPolicy {
				if id == friend {
					return peer.RelayOnly
				}
				return peer.Direct
			}
		})
		if err == nil || k == 0 || answers > 0 { // cookies it gets, as it would under another name
			t.Errorf("a peer to hide from, where strangers get cookies: %d packets, %d of them answers, %v; want cookies only",
				k, answers, err)
		}
	})
}

// An address is not dialled where that would show ours too early.
func TestPolicyForbidsDial(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: 10 * time.Millisecond})
		host := n.Host(peertest.FullCone)
		neighbor := host.Neighbor().Endpoint(nil)
		public := n.Endpoint(peertest.Public, nil)
		for _, tt := range []struct {
			policy peer.AddressPolicy
			to     *peer.Endpoint
			ok     bool
		}{
			{peer.Direct, public, true},
			{peer.LANOnly, neighbor, true},
			{peer.LANOnly, public, false},
			{peer.RelayOnly, neighbor, false},
			{peer.DirectAfterAccept, public, false},
		} {
			e := host.Endpoint(&peer.Config{Addresses: everybody(tt.policy)})
			s, err := e.DialTarget(t.Context(), peer.Target{ID: tt.to.ID(), Addrs: tt.to.LocalAddrs()})
			if tt.ok && err != nil || !tt.ok && !errors.Is(err, peer.ErrAddressPolicy) {
				t.Errorf("%v dials %v: %v, want success %v", tt.policy, tt.to.LocalAddrs(), err, tt.ok)
			}
			if err == nil {
				_ = s.Close(t.Context())
			}
		}
	})
}

func TestPolicyOfPathsIsRefused(t *testing.T) {
	if e, err := peer.Listen(t.Context(), &peer.Config{Policy: mobility.Policy{RelayOnly: true}}); err == nil {
		t.Error("Config.Policy.RelayOnly was taken, and would hide nothing")
		_ = e.Close(t.Context())
	}
}

// A wanderer is a host whose networks may change, and that notes where its packets go and come from.
type wanderer struct {
	*netlab.Host

	mu   sync.Mutex
	nets []netip.Prefix
	with map[netip.Addr]int
}

func newWanderer(h *netlab.Host, nets ...netip.Prefix) *wanderer {
	w := &wanderer{Host: h, nets: nets, with: make(map[netip.Addr]int)}
	h.BlockUDP(func(remote netip.AddrPort) bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.with[remote.Addr()]++
		return false
	})
	return w
}

func (w *wanderer) LocalPrefixes() ([]netip.Prefix, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.nets, nil
}

// A session within a network sends nothing to the peer's address once this host has left the network, for it may belong to
// somebody else in the next one; not even that the session is over.
func TestLANOnlyLeavesNetwork(t *testing.T) {
	bubble(t, func(t *testing.T) {
		lab, err := netlab.New(&netlab.Config{OneWay: 10 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		defer lab.Close()
		home, err := lab.AddHost(netlab.PortRestricted)
		if err != nil {
			t.Fatal(err)
		}
		beside, err := lab.AddHostBehind(home)
		if err != nil {
			t.Fatal(err)
		}
		var hub signaling.Hub
		listen := func(network peer.Network) *peer.Endpoint {
			_, key, _ := ed25519.GenerateKey(nil)
			e, err := peer.Listen(t.Context(), &peer.Config{
				Key: key, Network: network, Signaler: hub.Join(signaling.IDFromKey(key)), Addresses: everybody(peer.LANOnly),
			})
			if err != nil {
				t.Fatal(err)
			}
			return e
		}
		w := newWanderer(home, netip.MustParsePrefix("10.0.0.0/8"))
		subject, other := listen(w), listen(beside)
		defer other.Close(t.Context())
		defer subject.Close(t.Context())
		a, b := meet(t, subject, other)
		go echoSession(t.Context(), b)
		talk(t, a, "at home")
		addrs, _ := beside.LocalAddrs()
		w.mu.Lock()
		before := w.with[addrs[0]]
		w.nets = []netip.Prefix{netip.MustParsePrefix("192.168.7.0/24")}
		w.mu.Unlock()
		if before == 0 {
			t.Fatalf("no packets with %v, but with %v", addrs, w.with)
		}
		beside.SetDown(true) // what it sends would be counted
		subject.NetworkChanged()
		time.Sleep(time.Second)
		w.mu.Lock()
		clear(w.with)
		w.mu.Unlock()
		time.Sleep(20 * time.Second)
		a.Abort(2000, "")
		time.Sleep(5 * time.Second)
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.with) > 0 {
			t.Errorf("packets with %v after the host has left the network, want none", w.with)
		}
	})
}
