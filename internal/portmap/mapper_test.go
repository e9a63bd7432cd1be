// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package portmap

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// mapped is what socket4 is mapped to by a router that keeps the port.
var mapped = netip.AddrPortFrom(outside, 4000)

func TestPreference(t *testing.T) {
	tests := []struct {
		name     string
		pcp, pmp int
		want     Protocol
		within   time.Duration
	}{
		{"both", 0, 0, PCP, 10 * time.Millisecond},
		{"PCP", 0, absent, PCP, 10 * time.Millisecond},
		{"NAT-PMP", absent, 0, NATPMP, pmpGrace + 10*time.Millisecond},
		{"NAT-PMP hears PCP", oldVersion, 0, NATPMP, 10 * time.Millisecond},
		{"PCP refuses", 2, 0, NATPMP, 10 * time.Millisecond},
		{"NAT-PMP refuses", 0, 2, PCP, 10 * time.Millisecond},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLAN()
				r := newRouter(l)
				r.pcp, r.pmp = test.pcp, test.pmp
				changes := 0
				m := l.start(t, Config{Changed: func() { changes++ }})
				sleep(test.within)
				expect(t, m, mapped)
				if got := m.Status()[0].Protocol; got != test.want {
					t.Errorf("mapped by %v, want %v", got, test.want)
				}
				if changes != 1 {
					t.Errorf("%d changes reported, want 1", changes)
				}
				m.Close(t.Context())
				if len(r.forwards()) > 0 {
					t.Errorf("the router has %v after Close, want nothing", r.forwards())
				}
			})
		})
	}
}

// A mapping is asked for again at half its life, with the nonce of the first time.
func TestRenewal(t *testing.T) {
	for _, p := range []Protocol{PCP, NATPMP} {
		t.Run(p.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLAN()
				r := newRouter(l)
				kind := "pcp"
				if p == PCP {
					r.pcp = 0
				} else {
					r.pmp, kind = 0, "pmp"
				}
				m := l.start(t, Config{})
				sleep(leaseTime / 4)
				first := r.count(kind)
				sleep(10 * leaseTime)
				expect(t, m, mapped)
				// Every ten to twelve and a half minutes.
				if got := r.count(kind) - first; got < 16 || got > 20 {
					t.Errorf("renewed %d times in ten lives, want every 0.5 to 0.63 of one", got)
				}
				if p == PCP && r.clients() != 1 {
					t.Errorf("%d nonces, want 1: the server takes another for another client", r.clients())
				}
			})
		})
	}
}

// A lease however long is not trusted for longer than two hours, one however short does not cause a flood.
func TestLifetimes(t *testing.T) {
	for _, test := range []struct {
		granted  uint32
		min, max int // requests in a day
	}{{1 << 31, 19, 26}, {1, 15000, 22000}} {
		synctest.Test(t, func(t *testing.T) {
			l := newLAN()
			r := newRouter(l)
			r.pcp, r.lifetime = 0, test.granted
			l.start(t, Config{})
			sleep(24 * time.Hour)
			if got := r.count("pcp"); got < test.min || got > test.max {
				t.Errorf("granted %d s: %d requests in a day, want %d to %d", test.granted, got, test.min, test.max)
			}
		})
	}
}

// A router that has restarted tells by its epoch, and everything it knew is asked for at once.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLAN()
		r := newRouter(l)
		r.pcp = 0
		m := l.start(t, Config{V4: socket4, V6: socket6})
		sleep(leaseTime / 4)
		expect(t, m, mapped, netip.AddrPortFrom(hostV6, 4001))
		l.set(func() { r.restart() })
		l.set(func() { r.outside = netip.MustParseAddr("5.0.9.9") })
		for len(r.forwards()) == 0 {
			sleep(time.Second)
		}
		synctest.Wait()
		if len(r.forwards()) != 2 {
			t.Errorf("one mapping was renewed and showed that the router had restarted; it has %v, want both", r.forwards())
		}
		sleep(leaseTime / 8) // whichever was first
		expect(t, m, netip.AddrPortFrom(r.outside, 4000), netip.AddrPortFrom(hostV6, 4001))
	})
}

// A router whose epoch stands still seems to restart all the time. That must not make two mappings renew each other.
func TestStuckEpoch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLAN()
		r := newRouter(l)
		r.pcp = 0
		l.start(t, Config{V4: socket4, V6: socket6})
		for range 24 * 60 {
			l.set(func() { r.booted = time.Now() })
			sleep(time.Minute)
		}
		if got := r.count("pcp"); got > 700 {
			t.Errorf("%d requests in a day, want no more than two per renewal", got)
		}
	})
}

// What a router refuses to renew is looked for anew; what it does not answer may be lost, and is asked for until it ends.
func TestRenewalFails(t *testing.T) {
	t.Run("refused", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			l := newLAN()
			r := newRouter(l)
			r.pcp = 0
			m := l.start(t, Config{})
			sleep(time.Minute)
			l.set(func() { r.pcp, r.pmp = 8, 0 })
			sleep(leaseTime)
			expect(t, m, mapped)
			if got := m.Status()[0].Protocol; got != NATPMP {
				t.Errorf("mapped by %v, want NAT-PMP since PCP refuses", got)
			}
		})
	})
	t.Run("silent", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			l := newLAN()
			r := newRouter(l)
			r.pcp = 0
			m := l.start(t, Config{})
			sleep(time.Minute)
			l.set(func() { r.pcp = absent })
			sleep(leaseTime - 2*time.Minute)
			expect(t, m, mapped)
			sleep(2 * time.Minute)
			expect(t, m)
			if err := m.Status()[0].Err; !errors.Is(err, ErrSilent) {
				t.Errorf("the reason is %v, want ErrSilent", err)
			}
		})
	})
}

// A network without such a router costs a dozen packets every two hours in the end.
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLAN()
		r := newRouter(l)
		m := l.start(t, Config{})
		sleep(24 * time.Hour)
		expect(t, m)
		before := r.count("pcp", "external", "search")
		sleep(10 * 24 * time.Hour)
		after := r.count("pcp", "external", "search")
		if perHour := float64(after-before) / 240; perHour > 7.5 {
			t.Errorf("%.1f packets an hour, want a few", perHour)
		}
		l.set(func() { r.pcp = 0 })
		m.NetworkChanged()
		sleep(10 * time.Millisecond)
		expect(t, m, mapped)
	})
}

// A new network begins anew at once, at its own router; one that changes all the time does not cause a flood.
func TestNetworkChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLAN()
		r := newRouter(l)
		r.pcp = 0
		m := l.start(t, Config{})
		sleep(time.Minute)
		expect(t, m, mapped)

		other := Gateway{Addr: netip.MustParseAddr("10.0.0.1"), Local: netip.MustParseAddr("10.0.0.7")}
		l.setGateway(other)
		l.set(func() { r.outside = netip.MustParseAddr("5.0.7.7") })
		m.NetworkChanged()
		sleep(10 * time.Millisecond)
		expect(t, m, netip.AddrPortFrom(r.outside, 4000))
		if r.clients() != 2 {
			t.Errorf("%d nonces for two routers, want 2", r.clients())
		}

		sleep(time.Minute)
		before := r.count("pcp")
		for range 100 {
			m.NetworkChanged()
			sleep(100 * time.Millisecond)
		}
		if got := r.count("pcp") - before; got > 11 {
			t.Errorf("%d requests in ten seconds of flapping, want at most one a second", got)
		}
		expect(t, m, netip.AddrPortFrom(r.outside, 4000))

		l.setGateway(Gateway{})
		m.NetworkChanged()
		sleep(2 * time.Second)
		expect(t, m)
	})
}

// A search that is under way is cut short.
func TestNetworkChangedDuringSearch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLAN()
		r := newRouter(l)
		m := l.start(t, Config{})
		sleep(1100 * time.Millisecond)
		l.set(func() { r.pcp, r.delay = 0, 0 })
		m.NetworkChanged()
		sleep(10 * time.Millisecond)
		expect(t, m, mapped)
	})
}

// Behind a second NAT a mapping is useless, and is not kept.
func TestDoubleNAT(t *testing.T) {
	for _, ip := range []string{"192.168.0.17", "100.64.3.4", "10.1.1.1", "0.0.0.0"} {
		for _, p := range []Protocol{PCP, NATPMP} {
			synctest.Test(t, func(t *testing.T) {
				l := newLAN()
				r := newRouter(l)
				r.outside = netip.MustParseAddr(ip)
				if p == PCP {
					r.pcp = 0
				} else {
					r.pmp = 0
				}
				m := l.start(t, Config{})
				sleep(5 * time.Second)
				expect(t, m)
				e, ok := errors.AsType[*NotPublicError](m.Status()[0].Err)
				if !ok || e.External != r.outside {
					t.Errorf("%v at %s: the reason is %v, want NotPublicError", p, ip, m.Status()[0].Err)
				}
				if len(r.forwards()) > 0 {
					t.Errorf("%v at %s: the router has kept %v, want nothing", p, ip, r.forwards())
				}
			})
		}
	}
}

// Whoever is not behind a NAT asks nobody.
func TestNobodyAsked(t *testing.T) {
	public := Gateway{Addr: netip.MustParseAddr("5.0.0.1"), Local: netip.MustParseAddr("5.0.0.2")}
	for name, test := range map[string]struct {
		gw    Gateway
		bound netip.AddrPort
		want  error
	}{
		"public":      {public, socket4, ErrNotPrivate},
		"no gateway":  {Gateway{}, socket4, ErrNoGateway},
		"loopback":    {Gateway{Addr: routerAddr, Local: hostAddr}, netip.MustParseAddrPort("127.0.0.1:4000"), ErrNoGateway},
		"public peer": {Gateway{Addr: public.Addr, Local: hostAddr}, socket4, ErrNotPrivate},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLAN()
				r := newRouter(l)
				r.pcp, r.pmp = 0, 0
				l.gw4 = test.gw
				m := l.start(t, Config{V4: test.bound, V6: socket6})
				sleep(time.Hour)
				status := m.Status()
				if !errors.Is(status[0].Err, test.want) {
					t.Errorf("the reason is %v, want %v", status[0].Err, test.want)
				}
				if n := r.count("pcp", "pmp", "external", "search"); name != "loopback" && n > 0 {
					t.Errorf("the router was asked %d times, want never", n)
				}
			})
		})
	}
}

// Refusals are reported with their code.
func TestRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLAN()
		r := newRouter(l)
		r.pcp, r.pmp = 10, 4
		m := l.start(t, Config{})
		sleep(5 * time.Second)
		expect(t, m)
		e, ok := errors.AsType[*RefusedError](m.Status()[0].Err)
		if !ok || e.Protocol != PCP || e.Code != 10 {
			t.Errorf("the reason is %v, want PCP's code 10", m.Status()[0].Err)
		}
	})
}

// Close has a second, and less if its context says so, for a router that has died.
func TestCloseOfDeadRouter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLAN()
		r := newRouter(l)
		r.pcp = 0
		m := l.start(t, Config{})
		sleep(time.Minute)
		l.set(func() { r.pcp = absent })
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		begin := time.Now()
		m.Close(ctx)
		if took := time.Since(begin); took > 300*time.Millisecond {
			t.Errorf("Close took %v, want no more than its context allows", took)
		}
	})
}

// In a hurry the router is told, and not waited for.
func TestCloseInHurry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLAN()
		r := newRouter(l)
		r.pcp = 0
		m := l.start(t, Config{})
		sleep(time.Minute)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		begin := time.Now()
		m.Close(ctx)
		if took := time.Since(begin); took > 0 || len(r.forwards()) > 0 {
			t.Errorf("Close took %v and left %v, want no time and nothing", took, r.forwards())
		}
	})
}
