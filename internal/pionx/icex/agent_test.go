// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package icex_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/netlab"
	"github.com/seed-98f0d4c2/runnel/internal/pionx/icex"
)

// TestTwoRoundTrips goes through two port-restricted NATs with all candidates known.
func TestTwoRoundTrips(t *testing.T) {
	for _, oneWay := range []time.Duration{0, 5 * time.Millisecond, 10 * time.Millisecond, 37 * time.Millisecond, 75 * time.Millisecond} {
		rtt := 4 * oneWay
		t.Run(fmt.Sprintf("rtt=%v", rtt), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t, netlab.Config{OneWay: oneWay})
				ea, _, ha, sa := w.endpoint(netlab.PortRestricted)
				eb, _, hb, sb := w.endpoint(netlab.PortRestricted)
				a, b := ea.agent(true), eb.agent(false)
				a.add("host", hb)
				a.add("srflx", sb)
				b.add("host", ha)
				b.add("srflx", sa)
				begin := time.Now()
				a.start(b)
				b.start(a)
				gotA, gotB := a.wantSelected(10*time.Second), b.wantSelected(10*time.Second)
				took := time.Since(begin)
				t.Logf("RTT %v: selected after %v", rtt, took)
				if gotA != sb || gotB != sa {
					t.Errorf("selected %v and %v, want the reflexive addresses %v and %v", gotA, gotB, sb, sa)
				}
				if limit := 2*rtt + 20*time.Millisecond; took > limit {
					t.Errorf("took %v, want at most two round trips and 20 ms: %v", took, limit)
				}
			})
		})
	}
}

// TestTrickle has candidates arrive long after Start, when the burst is over: the first check must leave at once.
func TestTrickle(t *testing.T) {
	const rtt = 80 * time.Millisecond
	bubble(t, func(t *testing.T) {
		w := newWorld(t, netlab.Config{OneWay: rtt / 4})
		ea, _, _, sa := w.endpoint(netlab.PortRestricted)
		eb, _, _, sb := w.endpoint(netlab.PortRestricted)
		a, b := ea.agent(true), eb.agent(false)
		a.start(b)
		b.start(a)
		time.Sleep(3*time.Second + 7*time.Millisecond)
		if n := ea.sent.Load(); n != 0 {
			t.Errorf("%d packets sent without a candidate", n)
		}
		begin := time.Now()
		a.add("srflx", sb)
		b.add("srflx", sa)
		synctest.Wait()
		if ea.sent.Load() == 0 || eb.sent.Load() == 0 {
			t.Error("the first check did not leave at once")
		}
		a.wantSelected(10 * time.Second)
		b.wantSelected(10 * time.Second)
		if took := time.Since(begin); took > 2*rtt+20*time.Millisecond {
			t.Errorf("took %v after the candidates came, want at most %v", took, 2*rtt+20*time.Millisecond)
		}
	})
}

// TestNATs connects through every pair of NATs where it is possible, in both roles.
func TestNATs(t *testing.T) {
	kinds := []netlab.NAT{netlab.Public, netlab.FullCone, netlab.AddressRestricted, netlab.PortRestricted, netlab.Symmetric}
	for _, ka := range kinds {
		for _, kb := range kinds {
			possible := true
			for _, k := range [][2]netlab.NAT{{ka, kb}, {kb, ka}} {
				if k[0] == netlab.Symmetric && (k[1] == netlab.PortRestricted || k[1] == netlab.Symmetric) {
					possible = false
				}
			}
			t.Run(ka.String()+"/"+kb.String(), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					w := newWorld(t, netlab.Config{OneWay: 10 * time.Millisecond})
					ea, _, _, sa := w.endpoint(ka)
					eb, _, _, sb := w.endpoint(kb)
					a, b := ea.agent(true), eb.agent(false)
					a.add("srflx", sb)
					b.add("srflx", sa)
					a.start(b)
					b.start(a)
					if possible {
						a.wantSelected(time.Second)
						b.wantSelected(time.Second)
						return
					}
					time.Sleep(5 * time.Second)
					if len(a.selected)+len(b.selected) > 0 {
						t.Error("a pair was selected where none can work")
					}
				})
			})
		}
	}
}

func TestLoss(t *testing.T) {
	for seed := range uint64(10) {
		bubble(t, func(t *testing.T) {
			w := newWorld(t, netlab.Config{OneWay: 10 * time.Millisecond, Loss: 0.16, Seed: seed}) // about 30 % end to end
			ea, _, _, sa := w.endpoint(netlab.PortRestricted)
			eb, _, _, sb := w.endpoint(netlab.PortRestricted)
			a, b := ea.agent(true), eb.agent(false)
			a.add("srflx", sb)
			b.add("srflx", sa)
			a.start(b)
			b.start(a)
			a.wantSelected(2 * time.Second)
			b.wantSelected(2 * time.Second)
		})
	}
}

// TestPatience brings the peer up late: checks must go on for at least ten seconds, at a calm pace.
func TestPatience(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, netlab.Config{OneWay: 10 * time.Millisecond, MappingLifetime: time.Hour})
		ea, _, _, sa := w.endpoint(netlab.PortRestricted)
		eb, hostB, _, sb := w.endpoint(netlab.PortRestricted)
		a, b := ea.agent(true), eb.agent(false)
		a.add("srflx", sb)
		b.add("srflx", sa)
		hostB.SetDown(true)
		a.start(b)
		b.start(a)
		time.Sleep(500 * time.Millisecond)
		fast := ea.sent.Load()
		if fast < 20 || fast > 35 {
			t.Errorf("%d checks in the first half second, want about 25", fast)
		}
		time.Sleep(30 * time.Second)
		if n := ea.sent.Load() - fast; n < 140 || n > 160 {
			t.Errorf("%d checks in 30 s after that, want about 150", n)
		}
		hostB.SetDown(false)
		a.wantSelected(time.Second)
		b.wantSelected(time.Second)
	})
}

func TestRoleConflict(t *testing.T) {
	for _, role := range []bool{true, false} {
		t.Run(fmt.Sprintf("both controlling %v", role), func(t *testing.T) {
			for range 8 { // who gives in is decided by chance
				bubble(t, func(t *testing.T) {
					w := newWorld(t, netlab.Config{OneWay: 10 * time.Millisecond})
					ea, _, _, sa := w.endpoint(netlab.FullCone)
					eb, _, _, sb := w.endpoint(netlab.FullCone)
					a, b := ea.agent(role), eb.agent(role)
					a.add("srflx", sb)
					b.add("srflx", sa)
					a.start(b)
					b.start(a)
					if got := a.wantSelected(time.Second); got != sb {
						t.Errorf("selected %v, want %v", got, sb)
					}
					if got := b.wantSelected(time.Second); got != sa {
						t.Errorf("selected %v, want %v", got, sa)
					}
				})
			}
		})
	}
}

func TestWrongPassword(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, netlab.Config{OneWay: time.Millisecond})
		ea, _, _, sa := w.endpoint(netlab.Public)
		eb, _, _, sb := w.endpoint(netlab.Public)
		a, b := ea.agent(true), eb.agent(false)
		a.add("srflx", sb)
		b.add("srflx", sa)
		ufrag, _ := b.Credentials()
		if err := a.Start(ufrag, strings.Repeat("x", 32)); err != nil {
			t.Fatal(err)
		}
		b.start(a)
		time.Sleep(5 * time.Second)
		if n := len(b.checks); n != 0 {
			t.Errorf("OnCheck was called %d times for checks with the wrong password", n)
		}
		if len(a.checks) == 0 {
			t.Error("OnCheck was not called for the checks with the right password")
		}
		if len(a.selected)+len(b.selected) != 0 {
			t.Error("a pair was selected")
		}
	})
}

func TestOnCheck(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, netlab.Config{OneWay: time.Millisecond})
		ea, _, _, _ := w.endpoint(netlab.Public)
		eb, _, _, sb := w.endpoint(netlab.PortRestricted)
		a, b := ea.agent(false), eb.agent(true)
		b.add("host", netip.MustParseAddrPort("5.0.1.1:32768")) // a's, see below; a knows nothing of b
		b.start(a)
		time.Sleep(time.Second)
		if len(a.checks) != 0 {
			t.Error("OnCheck before Start")
		}
		a.start(b)
		select {
		case from := <-a.checks:
			if from != sb {
				t.Errorf("check from %v, want %v", from, sb)
			}
		case <-time.After(time.Second):
			t.Fatal("no OnCheck: is a really at 5.0.1.1:32768?")
		}
		a.wantSelected(time.Second) // as a peer-reflexive candidate
	})
}

func TestManySources(t *testing.T) {
	// A peer that knows the password sends checks from many addresses. Each that is believed would be probed.
	bubble(t, func(t *testing.T) {
		w := newWorld(t, netlab.Config{OneWay: time.Millisecond})
		ea, _, _, sa := w.endpoint(netlab.Public)
		eb, _, _, _ := w.endpoint(netlab.Public)
		a, b := ea.agent(false), eb.agent(true)
		var check []byte
		w.net.Tap(func(p netlab.Packet) netlab.Verdict {
			if p.To == sa && check == nil {
				check = p.Clone().Payload
			}
			return netlab.Drop
		})
		b.add("host", sa)
		b.start(a)
		a.start(b)
		time.Sleep(time.Second)
		synctest.Wait()
		if check == nil {
			t.Fatal("no check was seen")
		}
		for i := range 500 {
			from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{8, 8, byte(i >> 8), byte(i)}), 1000)
			if err := w.net.Inject(netlab.Packet{From: from, To: sa, Payload: check}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Millisecond)
		}
		sources := make(map[netip.AddrPort]bool)
		for len(a.checks) > 0 {
			sources[<-a.checks] = true
		}
		if len(sources) == 0 || len(sources) > 12 {
			t.Errorf("%d sources were believed, want 1 to 12", len(sources))
		}
		if got := ea.mux.Stats().Overflow; got < 480 {
			t.Errorf("Overflow = %d, want the rest of 500", got)
		}
	})
}

func TestAddRemote(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, netlab.Config{})
		e, _, _, _ := w.endpoint(netlab.Public)
		a := e.agent(true)
		for _, bad := range []struct{ addr, kind string }{
			{"0.0.0.0:1", "host"},
			{"[::]:1", "host"},
			{"1.2.3.4:0", "host"},
			{"224.0.0.1:1", "host"},
			{"[ff02::1]:1", "host"},
			{"[fe80::1%eth0]:1", "host"},
			{"1.2.3.4:1", "relay"},
			{"1.2.3.4:1", ""},
		} {
			if err := a.AddRemote(netip.MustParseAddrPort(bad.addr), bad.kind); !errors.Is(err, icex.ErrCandidate) {
				t.Errorf("AddRemote(%s, %q): %v, want ErrCandidate", bad.addr, bad.kind, err)
			}
		}
		if err := a.AddRemote(netip.AddrPort{}, "host"); !errors.Is(err, icex.ErrCandidate) {
			t.Errorf("AddRemote of nothing: %v, want ErrCandidate", err)
		}
		for i := range icex.MaxRemote {
			addr := fmt.Sprintf("1.2.3.4:%d", i+1)
			for _, kind := range []string{"host", "srflx", "prflx"} { // an address counts once
				if err := a.AddRemote(netip.MustParseAddrPort(addr), kind); err != nil {
					t.Errorf("AddRemote(%s, %s): %v", addr, kind, err)
				}
			}
			if err := a.AddRemote(netip.MustParseAddrPort("[::ffff:1.2.3.4]:1"), "host"); err != nil {
				t.Errorf("mapped form of a known address: %v", err)
			}
		}
		if err := a.AddRemote(netip.MustParseAddrPort("1.2.3.5:1"), "host"); !errors.Is(err, icex.ErrTooMany) {
			t.Errorf("one too many: %v, want ErrTooMany", err)
		}
	})
}

func TestStartErrors(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, netlab.Config{})
		e, _, _, _ := w.endpoint(netlab.Public)
		a := e.agent(true)
		pwd := strings.Repeat("p", 22)
		for _, c := range [][2]string{
			{"", pwd},
			{"abc", pwd},
			{"abcd", pwd[1:]},
			{"ab:d", pwd},
			{"abcd", pwd + " "},
			{strings.Repeat("u", 257), pwd},
		} {
			if err := a.Start(c[0], c[1]); !errors.Is(err, icex.ErrCredential) {
				t.Errorf("Start(%.9q, %.30q): %v, want ErrCredential", c[0], c[1], err)
			}
		}
		if err := a.Start("abcd", pwd); err != nil {
			t.Errorf("Start after failed ones: %v", err)
		}
		if err := a.Start("abcd", pwd); !errors.Is(err, icex.ErrStarted) {
			t.Errorf("second Start: %v, want ErrStarted", err)
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		if err := a.Start("abcd", pwd); !errors.Is(err, icex.ErrClosed) {
			t.Errorf("Start after Close: %v, want ErrClosed", err)
		}
		if err := a.AddRemote(netip.MustParseAddrPort("1.2.3.4:5"), "host"); !errors.Is(err, icex.ErrClosed) {
			t.Errorf("AddRemote after Close: %v, want ErrClosed", err)
		}
		if err := e.mux.Close(); err != nil {
			t.Error(err)
		}
		if _, err := icex.NewAgent(&icex.Config{Mux: e.mux}); !errors.Is(err, icex.ErrClosed) {
			t.Errorf("NewAgent on a closed mux: %v, want ErrClosed", err)
		}
		empty := icex.NewMux(nil, func() []netip.AddrPort { return nil })
		for _, c := range []*icex.Config{nil, {}, {Mux: empty}} {
			if _, err := icex.NewAgent(c); !errors.Is(err, icex.ErrConfig) {
				t.Errorf("NewAgent(%v): %v, want ErrConfig", c, err)
			}
		}
	})
}

// TestKeepalive leaves a selected agent alone for a long time: it stays, at a low rate.
func TestKeepalive(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, netlab.Config{OneWay: time.Millisecond, MappingLifetime: 10 * time.Second})
		ea, _, _, sa := w.endpoint(netlab.PortRestricted)
		eb, _, _, sb := w.endpoint(netlab.PortRestricted)
		a, b := ea.agent(true), eb.agent(false)
		a.add("srflx", sb)
		b.add("srflx", sa)
		a.start(b)
		b.start(a)
		a.wantSelected(time.Second)
		b.wantSelected(time.Second)
		before := ea.sent.Load()
		time.Sleep(10 * time.Minute)
		if n := ea.sent.Load() - before; n < 200 || n > 1300 {
			t.Errorf("%d packets in ten minutes, want a few per keepalive of 2 s", n)
		}
		if len(a.selected)+len(b.selected) != 0 {
			t.Error("another pair was selected for no reason")
		}
	})
}
