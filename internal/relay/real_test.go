// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-98f0d4c2/runnel/internal/pionx/stunx"
)

var localhost = netip.MustParseAddr("127.0.0.1")

// counter is a log that counts what it swallows.
type counter struct{ lines, bytes atomic.Int64 }

func (c *counter) Write(b []byte) (int, error) {
	c.lines.Add(int64(bytes.Count(b, []byte("\n"))))
	c.bytes.Add(int64(len(b)))
	return len(b), nil
}

// realConfig is a development relay on the loopback interface.
func realConfig(t testing.TB) *Config {
	t.Helper()
	pc, err := net.ListenUDP("udp4", &net.UDPAddr{IP: localhost.AsSlice()})
	ok(t, err)
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	ok(t, err)
	return &Config{
		PacketConns: []net.PacketConn{pc}, Listeners: []net.Listener{ln}, RelayIP: localhost, Secrets: []string{secret},
		AllowPeers: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, AllowHost: true, PortRest: -1,
		Registerer: prometheus.NewRegistry(),
	}
}

func start(t testing.TB, c *Config) *Server {
	t.Helper()
	s, err := New(c)
	ok(t, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Serve(); err != ErrClosed {
			t.Errorf("Serve: %v", err)
		}
	})
	t.Cleanup(func() {
		s.Close()
		wg.Wait()
	})
	return s
}

// realRelay starts a relay and a client by hand, both on real sockets.
func realRelay(t testing.TB, change func(*Config)) (*Server, *realRaw) {
	t.Helper()
	c := realConfig(t)
	c.AnswerRate = -1
	if change != nil {
		change(c)
	}
	s := start(t, c)
	pc, err := net.ListenUDP("udp4", &net.UDPAddr{IP: localhost.AsSlice()})
	ok(t, err)
	t.Cleanup(func() { pc.Close() })
	user, pass := Credential(secret, "alice", time.Now().Add(time.Hour))
	r := &realRaw{raw{t: t, pc: pc, to: addrPort(c.PacketConns[0].LocalAddr()), user: user, pass: pass}}
	return s, r
}

// realRaw is raw over a real socket, where silence takes time.
type realRaw struct{ raw }

func (r *realRaw) exchange(b []byte) []byte {
	_, _ = r.pc.WriteTo(b, net.UDPAddrFromAddrPort(r.to))
	_ = r.pc.SetReadDeadline(time.Now().Add(2 * time.Second))
	buf := make([]byte, 2000)
	for {
		n, _, err := r.pc.ReadFrom(buf)
		if err != nil {
			return nil
		}
		if stunx.TransactionID(buf[:n]) == stunx.TransactionID(b) {
			return buf[:n]
		}
	}
}

func (r *realRaw) do(m stunx.Method, attrs func(*stunx.Builder)) int {
	r.t.Helper()
	if r.nonce == nil {
		b := r.exchange(stunx.NewBuilder(nil, stunx.Allocate, stunx.Request, stunx.NewTransaction()).Add(stunx.RequestedTransport, []byte{17, 0, 0, 0}).Bytes())
		if stunx.ErrorOf(b) != 401 {
			r.t.Fatalf("no challenge: % x", b)
		}
		r.nonce, _ = stunx.Get(b, stunx.Nonce)
		r.key = stunx.LongTermKey(r.user, "runnel", r.pass)
	}
	b := stunx.NewBuilder(nil, m, stunx.Request, stunx.NewTransaction())
	attrs(b)
	b.Add(stunx.UsernameAttr, []byte(r.user)).Add(stunx.Realm, []byte("runnel")).Add(stunx.Nonce, r.nonce).AddIntegrity(r.key)
	if r.answer = r.exchange(b.Bytes()); r.answer == nil {
		return -1
	}
	if _, class := stunx.Type(r.answer); class == stunx.Success {
		return 0
	}
	return stunx.ErrorOf(r.answer)
}

func (r *realRaw) allocate() int {
	return r.do(stunx.Allocate, func(b *stunx.Builder) { b.Add(stunx.RequestedTransport, []byte{17, 0, 0, 0}) })
}

func (r *realRaw) permit(peer string) int {
	return r.do(stunx.CreatePermission, func(b *stunx.Builder) {
		b.AddXORAddr(stunx.XORPeerAddress, netip.AddrPortFrom(netip.MustParseAddr(peer).WithZone(""), 9))
	})
}

func (r *realRaw) bind(number uint16, peer netip.AddrPort) int {
	return r.do(stunx.ChannelBind, func(b *stunx.Builder) {
		b.Add(stunx.ChannelNumber, []byte{byte(number >> 8), byte(number), 0, 0}).AddXORAddr(stunx.XORPeerAddress, peer)
	})
}

func (r *realRaw) indicate(peer netip.AddrPort, data string) {
	b := stunx.NewBuilder(nil, stunx.Send, stunx.Indication, stunx.NewTransaction()).
		AddXORAddr(stunx.XORPeerAddress, peer).Add(stunx.DataAttr, []byte(data)).Bytes()
	_, _ = r.pc.WriteTo(b, net.UDPAddrFromAddrPort(r.to))
}

// crash is the datagram of GHSA-34rh-wp3j-6cxc.
func crash() []byte {
	return stunx.NewBuilder(nil, stunx.Send, stunx.Indication, stunx.NewTransaction()).
		Add(stunx.DataAttr, []byte("data")).Add(stunx.XORPeerAddress, nil).Bytes()
}

// The datagram that ends the process of an unguarded server, from the holder of an allocation, by UDP and by TCP.
func TestCrashDatagram(t *testing.T) {
	s, r := realRelay(t, nil)
	if got := r.allocate(); got != 0 {
		t.Fatal(got)
	}
	_, _ = r.pc.WriteTo(crash(), net.UDPAddrFromAddrPort(r.to))
	if got := r.do(stunx.Refresh, func(*stunx.Builder) {}); got != 0 {
		t.Fatalf("after the crash datagram: %d", got)
	}
	c, err := net.Dial("tcp4", s.c.Listeners[0].Addr().String())
	ok(t, err)
	defer c.Close()
	_, err = c.Write(crash())
	ok(t, err)
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("stream after the crash datagram: %v, want it closed", err)
	}
	for _, b := range [][]byte{nil, {0}, make([]byte, 1500), bytes.Repeat([]byte{0x40}, 1400), []byte("GET / HTTP/1.1\r\n\r\n")} {
		_, _ = r.pc.WriteTo(b, net.UDPAddrFromAddrPort(r.to))
	}
	_, req := stunx.NewBinding()
	if _, mapped, err := stunx.ParseBinding(r.exchange(req)); err != nil || mapped != addrPort(r.pc.LocalAddr()) {
		t.Errorf("binding: %v, %v", mapped, err)
	}
}

// Spoofed Allocates, each from another address: few answers, no memory, hardly any log.
func TestSpoofFlood(t *testing.T) {
	const packets = 100_000
	log := new(counter)
	w := newWire()
	pc, err := w.listen(relayUDP)
	ok(t, err)
	in := pc.(*wireConn).in
	start(t, &Config{
		PacketConns: []net.PacketConn{pc}, RelayIP: relayIP, Secrets: []string{secret}, AllowHost: true,
		Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	req := stunx.NewBuilder(nil, stunx.Allocate, stunx.Request, [12]byte{}).Add(stunx.RequestedTransport, []byte{17, 0, 0, 0}).Bytes()
	garbage := bytes.Repeat([]byte{0x55}, 100)
	drained := func() { wait(t, "an empty queue", func() bool { return len(in) == 0 }) }
	flood := func(n int) {
		for i := range n {
			from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{9, byte(i >> 16), byte(i >> 8), byte(i)}), 1)
			b := req
			if i%4 == 3 {
				b = garbage
			}
			if len(in) > 900 {
				drained()
			}
			w.send(from, relayUDP, b)
		}
		drained()
	}
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	flood(1000)
	w.mu.Lock()
	clear(w.seen)
	w.mu.Unlock()
	before, began := heap(), time.Now()
	flood(packets)
	w.mu.Lock()
	answers := 0
	for to, n := range w.seen {
		if to != relayUDP {
			answers += n
		}
	}
	w.seen = make(map[netip.AddrPort]int) // the test's own growth
	w.mu.Unlock()
	grown := int64(heap()) - int64(before)
	if limit := 20*globalFactor + int(10*globalFactor*(time.Since(began).Seconds()+1)); answers > limit {
		t.Errorf("%d answers to %d spoofed requests, want at most %d", answers, packets, limit)
	}
	if grown > 4<<20 {
		t.Errorf("heap grew by %d kB", grown>>10)
	}
	if n := log.lines.Load(); n > 20 {
		t.Errorf("%d log lines", n)
	}
	t.Logf("%d requests: %d answers, heap %+d kB, %d log lines", packets, answers, grown>>10, log.lines.Load())
}

// Garbage from an authenticated client: the library writes a line for each packet, the log must not.
func TestLogIsBounded(t *testing.T) {
	log := new(counter)
	s, r := realRelay(t, func(c *Config) {
		c.Log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	if got := r.allocate() + r.permit("127.0.0.1"); got != 0 {
		t.Fatal(got)
	}
	for i := range 5000 {
		r.indicate(netip.MustParseAddrPort("127.0.0.2:9"), "no permission")
		r.indicate(netip.MustParseAddrPort("127.0.0.1:9"), "nobody there")
		_, _ = r.pc.WriteTo([]byte{0x47, byte(i), 0, 1, 'x', 0, 0, 0}, net.UDPAddrFromAddrPort(r.to))
		if i%50 == 0 {
			r.bind(0x4000+uint16(i/50), netip.MustParseAddrPort("127.0.0.1:9")) // two numbers for one peer
		}
	}
	if n := log.lines.Load(); n > 20 {
		t.Errorf("%d log lines, %d bytes", n, log.bytes.Load())
	}
	if s.Allocations() != 1 {
		t.Error("allocation lost")
	}
}

// The number of time series does not depend on who uses the relay.
func TestMetricsAreBounded(t *testing.T) {
	l := &lab{t: t, w: newWire(), reg: prometheus.NewRegistry()}
	pc := l.listen(relayUDP)
	s := start(t, &Config{
		PacketConns: []net.PacketConn{pc}, RelayIP: relayIP, Secrets: []string{secret}, AllowHost: true, Registerer: l.reg,
		AnswerRate: -1,
	})
	g := newGate(s, pc, "udp", nil)
	series := func() (n int) {
		f, err := l.reg.Gather()
		ok(t, err)
		for _, f := range f {
			n += len(f.GetMetric())
		}
		return n
	}
	flood := func(from, to int) {
		for i := from; i < to; i++ {
			user, pass := Credential(secret, "user"+string(rune(i)), time.Now().Add(time.Duration(i%3-1)*time.Hour))
			key := stunx.LongTermKey(user, "runnel", pass)
			b := stunx.NewBuilder(nil, stunx.Allocate, stunx.Request, [12]byte{}).Add(stunx.RequestedTransport, []byte{byte(i), 0, 0, 0}).
				Add(stunx.UsernameAttr, []byte(user)).Add(stunx.Realm, []byte("runnel")).AddIntegrity(key).Bytes()
			g.admit(b, netip.AddrPortFrom(netip.AddrFrom4([4]byte{9, 9, byte(i >> 8), byte(i)}), 1), nil)
			g.admit(b[:i%len(b)], netip.AddrPort{}, nil)
			g.verdict(s.judge(netip.AddrFrom4([4]byte{byte(i), byte(i >> 8), 0, 1})))
		}
	}
	flood(0, 3000)
	before := series()
	flood(3000, 30000)
	if n := series(); n != before || n > 60 {
		t.Errorf("%d series, then %d; want the same number", before, n)
	}
}
