// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package icex_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/seed-98f0d4c2/runnel/internal/netlab"
	"github.com/seed-98f0d4c2/runnel/internal/pionx/icex"
)

// listen opens a real socket on this machine.
func listen(t testing.TB, addr string) net.PacketConn {
	t.Helper()
	network := "udp4"
	if addr[0] == '[' {
		network = "udp6"
	}
	pc, err := net.ListenPacket(network, addr)
	if err != nil {
		t.Skipf("this machine has no %s: %v", addr, err)
	}
	return pc
}

// TestManyAgents connects 50 pairs of agents over two real sockets, so that all of them have the same two addresses.
func TestManyAgents(t *testing.T) {
	defer goleak.VerifyNone(t)
	t.Run("pairs", func(t *testing.T) {
		ea, eb := newEndpoint(t, nil, listen(t, "127.0.0.1:0")), newEndpoint(t, nil, listen(t, "127.0.0.1:0"))
		aa, ab := addrOf(ea.conns[0]), addrOf(eb.conns[0])
		const pairs = 50
		var as, bs [pairs]*agent
		begin := time.Now()
		for i := range pairs {
			as[i], bs[i] = ea.agent(true), eb.agent(false)
			as[i].add("host", ab)
			bs[i].add("host", aa)
		}
		for i := range pairs {
			as[i].start(bs[i])
			bs[i].start(as[i])
		}
		for i := range pairs {
			if got := as[i].wantSelected(10 * time.Second); got != ab {
				t.Errorf("pair %d: selected %v, want %v", i, got, ab)
			}
			if got := bs[i].wantSelected(10 * time.Second); got != aa {
				t.Errorf("pair %d: selected %v, want %v", i, got, aa)
			}
		}
		t.Logf("%d pairs in %v; %+v", pairs, time.Since(begin), ea.mux.Stats())
	})
}

// TestLocalAddresses connects over loopback and wildcard sockets, of both families, and over both at once.
func TestLocalAddresses(t *testing.T) {
	defer goleak.VerifyNone(t)
	tests := []struct {
		name, listen string
		local        func(port uint16) []netip.AddrPort
		at           string // where the peer finds it
	}{
		{"IPv4 loopback", "127.0.0.1:0", nil, "127.0.0.1"},
		{"IPv6 loopback", "[::1]:0", nil, "::1"},
		{"IPv4 wildcard", "0.0.0.0:0", interfaces, "127.0.0.1"},
		{"IPv6 wildcard", "[::]:0", interfaces, "::1"},
		{"wildcard without a list", "0.0.0.0:0", nil, "127.0.0.1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var es [2]*endpoint
			var at [2]netip.AddrPort
			for i := range es {
				pc := listen(t, tt.listen)
				var local []netip.AddrPort
				if tt.local != nil {
					local = tt.local(addrOf(pc).Port())
				}
				es[i] = newEndpoint(t, local, pc)
				at[i] = netip.AddrPortFrom(netip.MustParseAddr(tt.at), addrOf(pc).Port())
			}
			a, b := es[0].agent(true), es[1].agent(false)
			a.add("host", at[1])
			b.add("host", at[0])
			a.start(b)
			b.start(a)
			if got := a.wantSelected(5 * time.Second); got != at[1] {
				t.Errorf("selected %v, want %v", got, at[1])
			}
			b.wantSelected(5 * time.Second)
		})
	}
	t.Run("both families", func(t *testing.T) {
		p4, p6 := listen(t, "127.0.0.1:0"), listen(t, "[::1]:0")
		e := newEndpoint(t, []netip.AddrPort{addrOf(p4), addrOf(p6)}, p4, p6)
		only6 := newEndpoint(t, nil, listen(t, "[::1]:0"))
		a, b := e.agent(true), only6.agent(false)
		a.add("host", netip.MustParseAddrPort("127.0.0.1:9"), addrOf(only6.conns[1]))
		b.add("host", addrOf(p4), addrOf(p6)) // the first is out of its reach
		a.start(b)
		b.start(a)
		if got := a.wantSelected(5 * time.Second); got != addrOf(only6.conns[1]) {
			t.Errorf("selected %v, want %v", got, addrOf(only6.conns[1]))
		}
		if got := b.wantSelected(5 * time.Second); got != addrOf(p6) {
			t.Errorf("selected %v, want %v", got, addrOf(p6))
		}
	})
}

func addrOf(pc net.PacketConn) netip.AddrPort {
	ap := pc.LocalAddr().(*net.UDPAddr).AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// interfaces lists the addresses of this machine with a port.
func interfaces(port uint16) (out []netip.AddrPort) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			out = append(out, netip.AddrPortFrom(p.Addr(), port))
		}
	}
	return out
}

// TestForgedResponses changes responses on their way: the transaction ID, the class, the place they come from.
func TestForgedResponses(t *testing.T) {
	success := func(b []byte) bool { return len(b) >= 20 && binary.BigEndian.Uint16(b) == 0x0101 }
	tests := map[string]func(w *world, p netlab.Packet) netlab.Verdict{
		"foreign transaction": func(_ *world, p netlab.Packet) netlab.Verdict {
			if success(p.Payload) {
				p.Payload[8] ^= 1
			}
			return netlab.Pass
		},
		"from elsewhere": func(w *world, p netlab.Packet) netlab.Verdict {
			if success(p.Payload) {
				p = p.Clone()
				p.From = netip.MustParseAddrPort("8.8.8.8:3478")
				_ = w.net.Inject(p)
				return netlab.Drop
			}
			return netlab.Pass
		},
	}
	for name, tap := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t, netlab.Config{OneWay: time.Millisecond})
				ea, _, _, sa := w.endpoint(netlab.Public)
				eb, _, _, sb := w.endpoint(netlab.Public)
				remove := w.net.Tap(func(p netlab.Packet) netlab.Verdict { return tap(w, p) })
				a, b := ea.agent(true), eb.agent(false)
				a.add("srflx", sb)
				b.add("srflx", sa)
				a.start(b)
				b.start(a)
				time.Sleep(3 * time.Second)
				if len(a.selected)+len(b.selected) != 0 {
					t.Error("a forged response was believed")
				}
				if s := ea.mux.Stats(); s.Responses != 0 || s.Unknown == 0 {
					t.Errorf("stats %+v, want no response and some unknown messages", s)
				}
				remove()
				a.wantSelected(time.Second) // no harm was done
				b.wantSelected(time.Second)
			})
		})
	}
}

// TestAppendedUseCandidate adds attributes behind MESSAGE-INTEGRITY, where nothing protects them.
func TestAppendedUseCandidate(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, netlab.Config{OneWay: time.Millisecond})
		ea, _, _, sa := w.endpoint(netlab.Public)
		eb, _, _, sb := w.endpoint(netlab.Public)
		tampered := 0
		w.net.Tap(func(p netlab.Packet) netlab.Verdict {
			if p.To != sb || len(p.Payload) < 20 || binary.BigEndian.Uint16(p.Payload) != 1 {
				return netlab.Pass
			}
			p = p.Clone()
			p.Payload = append(p.Payload, 0, 0x25, 0, 0) // USE-CANDIDATE
			binary.BigEndian.PutUint16(p.Payload[2:], uint16(len(p.Payload)-20))
			tampered++
			_ = w.net.Inject(p)
			return netlab.Drop
		})
		a, b := ea.agent(true), eb.agent(false)
		a.add("host", sb)
		b.add("host", sa)
		a.start(b)
		b.start(a)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if tampered == 0 {
			t.Fatal("no check was seen")
		}
		if len(b.checks)+len(b.selected) != 0 {
			t.Error("a tampered check was believed")
		}
	})
}

func TestNotOurs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, netlab.Config{})
		e, _, _, _ := w.endpoint(netlab.Public)
		a := e.agent(true)
		ufrag, _ := a.Credentials()
		from := netip.MustParseAddrPort("1.2.3.4:5")
		tests := map[string]struct {
			b    []byte
			from netip.AddrPort
			want bool
		}{
			"nothing":              {nil, from, false},
			"not STUN":             {[]byte("hello, this is not a STUN message"), from, false},
			"no user name":         {binding(0x0001, ""), from, false},
			"no colon":             {binding(0x0001, ufrag), from, false},
			"another agent":        {binding(0x0001, "other:"+ufrag), from, false},
			"our check":            {binding(0x0001, ufrag+":other"), from, true},
			"our check, IPv6":      {binding(0x0001, ufrag+":other"), netip.MustParseAddrPort("[2001:db8::1]:5"), false},
			"our check, mapped":    {binding(0x0001, ufrag+":other"), netip.MustParseAddrPort("[::ffff:1.2.3.4]:5"), true},
			"our check, zone":      {binding(0x0001, ufrag+":other"), netip.MustParseAddrPort("[fe80::1%1]:5"), false},
			"unsolicited response": {binding(0x0101, ""), from, false},
			"unsolicited error":    {binding(0x0111, ""), from, false},
			"indication":           {binding(0x0011, ufrag+":other"), from, false},
			"TURN method":          {binding(0x0003, ufrag+":other"), from, false},
			"trailing byte":        {append(binding(0x0001, ufrag+":other"), 0), from, false},
		}
		for name, tt := range tests {
			if got := e.mux.HandleSTUN(tt.b, tt.from); got != tt.want {
				t.Errorf("%s: HandleSTUN = %v, want %v", name, got, tt.want)
			}
		}
	})
}

// binding makes a message of a type with a user name, or without one.
func binding(typ uint16, name string) []byte {
	var b bytes.Buffer
	attr := 0
	if name != "" {
		attr = 4 + (len(name)+3)&^3
	}
	_ = binary.Write(&b, binary.BigEndian, typ)
	_ = binary.Write(&b, binary.BigEndian, uint16(attr))
	_ = binary.Write(&b, binary.BigEndian, uint32(0x2112A442))
	b.WriteString("transaction.")
	if name != "" {
		_ = binary.Write(&b, binary.BigEndian, [2]uint16{6, uint16(len(name))})
		b.WriteString(name + strings.Repeat("\x00", attr-4-len(name)))
	}
	return b.Bytes()
}

// TestFullQueue floods an agent that has not been started and so does not read.
func TestFullQueue(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, netlab.Config{})
		e, _, _, _ := w.endpoint(netlab.Public)
		ufrag, _ := e.agent(true).Credentials()
		check := binding(0x0001, ufrag+":other")
		for range 1000 {
			if !e.mux.HandleSTUN(check, netip.MustParseAddrPort("1.2.3.4:5")) {
				t.Fatal("not ours")
			}
		}
		if s := e.mux.Stats(); s.Requests != 64 || s.Overflow != 1000-64 {
			t.Errorf("stats %+v, want 64 requests kept and the others counted", s)
		}
	})
}

// TestWriteErrors has every write fail: nothing is found, and nothing breaks.
func TestWriteErrors(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := icex.NewMux(func([]byte, netip.AddrPort) error { return errors.New("no route") },
			func() []netip.AddrPort { return []netip.AddrPort{netip.MustParseAddrPort("10.0.0.1:5")} })
		a, err := icex.NewAgent(&icex.Config{Mux: m, Controlling: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := a.AddRemote(netip.MustParseAddrPort("1.2.3.4:5"), "host"); err != nil {
			t.Error(err)
		}
		if err := a.Start("abcd", strings.Repeat("p", 22)); err != nil {
			t.Error(err)
		}
		time.Sleep(2 * time.Minute) // long after the library has given up
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		if _, err := icex.NewAgent(&icex.Config{Mux: m}); !errors.Is(err, icex.ErrClosed) {
			t.Errorf("%v, want ErrClosed", err)
		}
	})
}

// TestMuxCloses closes the mux under running agents.
func TestMuxCloses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, netlab.Config{OneWay: time.Millisecond})
		ea, _, _, sa := w.endpoint(netlab.Public)
		eb, _, _, sb := w.endpoint(netlab.Public)
		for range 5 {
			a, b := ea.agent(true), eb.agent(false)
			a.add("host", sb)
			b.add("host", sa)
			a.start(b)
			b.start(a)
		}
		time.Sleep(time.Millisecond)
		if err := ea.mux.Close(); err != nil {
			t.Error(err)
		}
		n := ea.sent.Load()
		time.Sleep(time.Second)
		if ea.sent.Load() != n {
			t.Error("packets were sent on a closed mux")
		}
	})
}
