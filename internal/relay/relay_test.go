// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/pionx/stunx"
	"github.com/seed-98f0d4c2/runnel/internal/pionx/turnx"
)

// Two clients of one relay reach one another at their relayed addresses, wherever the relay lives.
func TestRelayBetweenClients(t *testing.T) {
	for _, ip := range []string{"5.5.5.5", "10.1.2.3", "127.0.0.1", "169.254.1.1"} {
		t.Run(ip, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				addr := netip.MustParseAddr(ip)
				var l *lab
				l = newLab(t, func(c *Config) {
					c.RelayIP, c.HostAddrs = addr, func() []netip.Addr { return []netip.Addr{addr} }
					c.ListenRelay = func(port int) (net.PacketConn, error) {
						return l.w.listen(netip.AddrPortFrom(addr, uint16(port)))
					}
				})
				in := make(chan string, 10)
				var a, b *turnx.Allocation
				a = l.allocate("8.0.0.1:1000", "alice", func(p []byte, from netip.AddrPort) {
					if from == b.Relayed() {
						in <- "a got " + string(p)
					}
				})
				b = l.allocate("8.0.0.2:1000", "bob", func(p []byte, from netip.AddrPort) {
					if from == a.Relayed() {
						in <- "b got " + string(p)
					}
				})
				a.Permit(b.Relayed().Addr())
				b.Permit(a.Relayed().Addr())
				synctest.Wait()
				for range 3 { // indications first, channels later
					ok(t, a.WriteTo([]byte("ping"), b.Relayed()))
					if got := <-in; got != "b got ping" {
						t.Fatal(got)
					}
					ok(t, b.WriteTo([]byte("pong"), a.Relayed()))
					if got := <-in; got != "a got pong" {
						t.Fatal(got)
					}
					time.Sleep(time.Second)
				}
				if n := l.metric("packets_total", "direction=to_peer"); n != 6 {
					t.Errorf("%v packets counted to peers, want 6", n)
				}
				// The relay's address is open as far as it is relayed addresses, and no further.
				victim := l.listen(netip.AddrPortFrom(addr, 9999))
				defer victim.Close()
				ok(t, a.WriteTo([]byte("x"), netip.AddrPortFrom(addr, 9999)))
				synctest.Wait()
				if n := l.w.count(netip.AddrPortFrom(addr, 9999)); n != 0 {
					t.Errorf("%d packets reached another port of the relay's machine", n)
				}
				ok(t, a.Close())
				ok(t, b.Close())
				if n := l.s.Allocations(); n != 0 {
					t.Errorf("%d allocations left", n)
				}
			})
		})
	}
}

// Behind 1:1 NAT the advertised address is not on this machine: packets from one relayed address to another turn round
// here, and look to the receiver as if they had come from outside.
func TestHairpinBehindNAT(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := netip.MustParseAddr("10.0.0.1")
		var l *lab
		l = newLab(t, func(c *Config) {
			c.BindIP, c.HostAddrs = inner, func() []netip.Addr { return []netip.Addr{inner} }
			c.ListenRelay = func(port int) (net.PacketConn, error) {
				return l.w.listen(netip.AddrPortFrom(inner, uint16(port)))
			}
		})
		in := make(chan netip.AddrPort, 1)
		a := l.allocate("8.0.0.1:1000", "alice", nil)
		b := l.allocate("8.0.0.2:1000", "bob", func(_ []byte, from netip.AddrPort) { in <- from })
		a.Permit(b.Relayed().Addr())
		b.Permit(a.Relayed().Addr())
		synctest.Wait()
		ok(t, a.WriteTo([]byte("ping"), b.Relayed()))
		if from := <-in; from != a.Relayed() || from.Addr() != relayIP {
			t.Errorf("packet from %v, want %v", from, a.Relayed())
		}
		// The inner address itself stays closed, and so do other ports of the outer one.
		a.Permit(inner)
		synctest.Wait()
		if err := a.WriteTo([]byte("x"), netip.AddrPortFrom(inner, b.Relayed().Port())); !errors.Is(err, turnx.ErrNoPermission) {
			t.Errorf("inner address: %v, want no permission", err)
		}
		before := l.metric("policy_denied_total", "reason=port")
		ok(t, a.WriteTo([]byte("x"), netip.AddrPortFrom(relayIP, 22)))
		synctest.Wait()
		if n := l.metric("policy_denied_total", "reason=port") - before; n != 2 { // the packet and the channel for it
			t.Errorf("%v refusals counted for another port of the relay, want 2", n)
		}
		if n := l.w.count(netip.AddrPortFrom(inner, 22)) + l.w.count(netip.AddrPortFrom(relayIP, 22)); n != 0 {
			t.Errorf("%d packets reached another port of the relay", n)
		}
	})
}

func TestCredentials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, func(c *Config) { c.Secrets = []string{"the older of the two secrets", secret}; c.AnswerRate = -1 })
		hour := time.Now().Add(time.Hour)
		for name, tt := range map[string]struct {
			secret, id string
			expires    time.Time
			mangle     func(user, pass string) (string, string)
			want       int
		}{
			"newer secret": {secret, "x", hour, nil, 0},
			"older secret": {"the older of the two secrets", "x", hour, nil, 0},
			"wrong secret": {"an entirely different secret", "x", hour, nil, 401},
			"expired":      {secret, "x", time.Now(), nil, 401},
			"no id":        {secret, "", hour, nil, 401},
			"later expiry": {secret, "x", hour, func(u, p string) (string, string) { return "9" + u, p }, 401},
			"other id":     {secret, "x", hour, func(u, p string) (string, string) { return u + "y", p }, 401},
			"no colon":     {secret, "x", hour, func(u, p string) (string, string) { return "12345678901", p }, 401},
			"not a number": {secret, "x", hour, func(u, p string) (string, string) { return "x" + u, p }, 401},
			"long":         {secret, strings.Repeat("x", 300), hour, nil, 401},
		} {
			r := l.raw("8.0.0.1:"+"1000", "x")
			r.user, r.pass = Credential(tt.secret, tt.id, tt.expires)
			if tt.mangle != nil {
				r.user, r.pass = tt.mangle(r.user, r.pass)
			}
			if got := r.allocate(); got != tt.want {
				t.Errorf("%s: %d, want %d", name, got, tt.want)
			}
			if tt.want == 0 {
				if !stunx.CheckIntegrity(r.answer, r.key) {
					t.Errorf("%s: answer not signed", name)
				}
				if got := r.do(stunx.Refresh, func(b *stunx.Builder) { b.Add(stunx.Lifetime, make([]byte, 4)) }); got != 0 {
					t.Errorf("%s: deallocation: %d", name, got)
				}
			} else if _, challenged := stunx.Get(r.answer, stunx.Nonce); !challenged {
				t.Errorf("%s: 401 without a nonce", name)
			}
			r.pc.Close()
			synctest.Wait()
		}
	})
}

// A session outlives its credential, but a new allocation cannot be made with it.
func TestExpiryHitsAllocateOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, nil)
		r := l.raw("8.0.0.1:1000", "alice")
		r.user, r.pass = Credential(secret, "alice", time.Now().Add(time.Minute))
		if got := r.allocate(); got != 0 {
			t.Fatal(got)
		}
		time.Sleep(2 * time.Minute)
		if got := r.do(stunx.Refresh, nil); got != 0 {
			t.Errorf("Refresh with an expired credential: %d, want success", got)
		}
		if got := r.permit("8.8.8.8"); got != 0 {
			t.Errorf("CreatePermission with an expired credential: %d, want success", got)
		}
		r2 := l.raw("8.0.0.2:1000", "alice")
		r2.user, r2.pass = r.user, r.pass
		if got := r2.allocate(); got != 401 {
			t.Errorf("Allocate with an expired credential: %d, want 401", got)
		}
	})
}

func TestProtocolAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, func(c *Config) { c.AnswerRate = -1; c.MaxPermissions = 4; c.MaxChannels = 2; c.MaxPerUser = 2 })
		r := l.raw("8.0.0.1:1000", "alice")
		udp := []byte{17, 0, 0, 0}
		refused := func(what string, want, got int) {
			t.Helper()
			if got != want {
				t.Errorf("%s: %d, want %d", what, got, want)
			}
			if want > 0 && !stunx.CheckIntegrity(r.answer, r.key) {
				t.Errorf("%s: unsigned refusal", what)
			}
		}
		add := func(t stunx.Attr, v ...byte) func(*stunx.Builder) {
			return func(b *stunx.Builder) { b.Add(stunx.RequestedTransport, udp).Add(t, v) }
		}
		refused("refresh without allocation", 437, r.do(stunx.Refresh, nil))
		refused("permission without allocation", 437, r.permit("8.8.8.8"))
		refused("channel without allocation", 437, r.bind(0x4000, netip.MustParseAddrPort("8.8.8.8:1")))
		refused("no transport", 400, r.do(stunx.Allocate, nil))
		refused("tcp relay", 442, r.do(stunx.Allocate, func(b *stunx.Builder) { b.Add(stunx.RequestedTransport, []byte{6, 0, 0, 0}) }))
		refused("ipv6 relay", 440, r.do(stunx.Allocate, add(stunx.RequestedAddressFamily, 2, 0, 0, 0)))
		refused("even port", 508, r.do(stunx.Allocate, add(stunx.EvenPort, 0x80)))
		refused("reservation", 508, r.do(stunx.Allocate, add(stunx.ReservationToken, 1, 2, 3, 4, 5, 6, 7, 8)))
		refused("don't fragment", 420, r.do(stunx.Allocate, add(stunx.DontFragment)))
		refused("unknown attribute", 420, r.do(stunx.Allocate, add(0x7F00, 1)))
		if v, _ := stunx.Get(r.answer, stunx.UnknownAttributes); !bytes.Equal(v, []byte{0x7F, 0}) {
			t.Errorf("UNKNOWN-ATTRIBUTES = % x", v)
		}
		if n := l.s.Allocations(); n != 0 {
			t.Fatalf("%d allocations by refused requests", n)
		}
		for range 10 {
			refused("even port without reservation", 0, r.do(stunx.Allocate, add(stunx.EvenPort, 0)))
			v, _ := stunx.Get(r.answer, stunx.XORRelayedAddress)
			if ap, _ := stunx.XORAddr(v, stunx.TransactionID(r.answer)); ap.Port() == 0 || ap.Port()%2 != 0 {
				t.Errorf("%v allocated, want an even port", ap)
			}
			if _, promised := stunx.Get(r.answer, stunx.ReservationToken); promised {
				t.Error("a reservation was promised")
			}
			refused("deallocation", 0, r.do(stunx.Refresh, func(b *stunx.Builder) { b.Add(stunx.Lifetime, make([]byte, 4)) }))
		}
		refused("allocate", 0, r.do(stunx.Allocate, add(stunx.RequestedAddressFamily, 1, 0, 0, 0)))
		refused("second allocate", 437, r.allocate())
		refused("permission for nobody", 400, r.permit())
		refused("one denied of two", 403, r.permit("8.8.8.8", "10.0.0.1"))
		if a := l.s.allocationOf(t, "8.0.0.1:1000"); len(a.perms) != 0 {
			t.Error("the permitted half of a denied request was installed")
		}
		refused("ipv6 peer", 443, r.permit("2606:4700::1"))
		refused("mapped peer", 0, r.permit("::ffff:8.8.8.8"))
		refused("channel too high", 400, r.bind(0x8000, netip.MustParseAddrPort("8.8.8.8:1")))
		refused("channel too low", 400, r.bind(0x3FFF, netip.MustParseAddrPort("8.8.8.8:1")))
		refused("channel", 0, r.bind(0x4000, netip.MustParseAddrPort("8.8.8.8:1")))
		refused("channel again", 0, r.bind(0x4000, netip.MustParseAddrPort("8.8.8.8:1")))
		refused("channel to another", 400, r.bind(0x4000, netip.MustParseAddrPort("8.8.8.8:2")))
		refused("second channel, of an old client", 0, r.bind(0x7FFE, netip.MustParseAddrPort("8.8.8.8:2")))
		refused("third channel", 508, r.bind(0x4002, netip.MustParseAddrPort("8.8.8.8:3")))
		refused("permissions to the cap", 0, r.permit("8.0.1.1", "8.0.1.2", "8.0.1.3"))
		refused("one more", 508, r.permit("8.0.1.4"))
		refused("those again", 0, r.permit("8.0.1.1", "8.0.1.2"))
		time.Sleep(6 * time.Minute)
		refused("others, five minutes later", 0, r.permit("8.0.1.4", "8.0.1.5", "8.0.1.6", "8.0.1.7"))

		// Another user with a valid credential and the same 5-tuple.
		mallory := *r
		mallory.user, mallory.pass = Credential(secret, "mallory", time.Now().Add(time.Hour))
		mallory.key = stunx.LongTermKey(mallory.user, "runnel", mallory.pass)
		r.answer, r.key = nil, nil
		if got := mallory.do(stunx.Refresh, func(b *stunx.Builder) { b.Add(stunx.Lifetime, make([]byte, 4)) }); got != 441 {
			t.Errorf("somebody else's allocation refreshed to death: %d, want 441", got)
		}
		if n := l.s.Allocations(); n != 1 {
			t.Errorf("%d allocations, want 1", n)
		}
		// Quota.
		if got := l.raw("8.0.0.2:1", "alice").allocate(); got != 0 {
			t.Errorf("second allocation of the user: %d", got)
		}
		if got := l.raw("8.0.0.3:1", "alice").allocate(); got != 486 {
			t.Errorf("third allocation of the user: %d, want 486", got)
		}
	})
}

// allocationOf finds a client's allocation.
func (s *Server) allocationOf(t *testing.T, client string) *allocation {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for g := range s.gates {
		if a := g.allocation(netip.MustParseAddrPort(client)); a != nil {
			return a
		}
	}
	t.Fatalf("no allocation of %s", client)
	return nil
}

func TestDrainAndShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, nil)
		a := l.allocate("8.0.0.1:1000", "alice", nil)
		l.s.Drain()
		if got := l.raw("8.0.0.2:1000", "bob").allocate(); got != 508 {
			t.Errorf("Allocate while draining: %d, want 508", got)
		}
		time.Sleep(time.Hour) // the old one is refreshed all the while
		if a.Err() != nil || l.s.Allocations() != 1 {
			t.Fatalf("drained allocation lost: %v", a.Err())
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if err := l.s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 2*time.Second {
			t.Errorf("Shutdown over a live allocation: %v", err)
		}
		if n := l.s.Allocations(); n != 0 {
			t.Errorf("%d allocations after Shutdown", n)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, nil)
		a := l.allocate("8.0.0.1:1000", "alice", nil)
		time.AfterFunc(time.Minute, func() { a.Close() })
		start := time.Now()
		if err := l.s.Shutdown(t.Context()); err != nil || time.Since(start) > 61*time.Second {
			t.Errorf("Shutdown: %v after %v, want nil when the last client leaves", err, time.Since(start))
		}
	})
}

func TestBytesPerSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, func(c *Config) { c.BytesPerSecond = 10_000 })
		a := l.allocate("8.0.0.1:1000", "alice", nil)
		peer := netip.MustParseAddrPort("8.0.9.9:1")
		a.Permit(peer.Addr())
		time.Sleep(time.Second)
		for range 50 {
			ok(t, a.WriteTo(make([]byte, 1000), peer))
		}
		time.Sleep(100 * time.Millisecond)
		if n := l.w.count(peer); n < 10 || n > 11 {
			t.Errorf("%d packets of 1000 bytes passed at once, want 10", n)
		}
		if n := l.metric("drop_total", "reason=rate"); n < 39 {
			t.Errorf("%v drops counted, want 39 or 40", n)
		}
	})
}

func TestNewRefuses(t *testing.T) {
	good := func() *Config {
		pc, _ := newWire().listen(relayUDP)
		return &Config{PacketConns: []net.PacketConn{pc}, RelayIP: relayIP, Secrets: []string{secret}, AllowHost: true}
	}
	if s, err := New(good()); err != nil {
		t.Fatal(err)
	} else {
		s.Close()
		if err := s.Serve(); err != ErrClosed {
			t.Errorf("Serve after Close: %v", err)
		}
	}
	for name, f := range map[string]func(*Config){
		"no sockets":   func(c *Config) { c.PacketConns = nil },
		"no relay ip":  func(c *Config) { c.RelayIP = netip.Addr{} },
		"ipv6 relay":   func(c *Config) { c.RelayIP = netip.MustParseAddr("2001:db8::1") },
		"no secret":    func(c *Config) { c.Secrets = nil },
		"short secret": func(c *Config) { c.Secrets = []string{"fifteen bytes.."} },
		"ports":        func(c *Config) { c.MinPort, c.MaxPort = 2, 1 },
		"bad prefix":   func(c *Config) { c.AllowPeers = []netip.Prefix{{}} },
	} {
		c := good()
		f(c)
		if _, err := New(c); !errors.Is(err, ErrConfig) && !errors.Is(err, ErrWeakSecret) {
			t.Errorf("%s: %v, want an error", name, err)
		}
	}
}
