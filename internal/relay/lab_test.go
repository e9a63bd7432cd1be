// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/seed-98f0d4c2/runnel/internal/pionx/stunx"
	"github.com/seed-98f0d4c2/runnel/internal/pionx/turnx"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secret = "a shared secret of the lab"

var (
	relayIP  = netip.MustParseAddr("5.5.5.5")
	relayUDP = netip.AddrPortFrom(relayIP, 3478)
)

// wire is a network of packet connections in memory: instant, lossless, and fit for a synctest bubble.
type wire struct {
	mu    sync.Mutex
	conns map[netip.AddrPort]*wireConn
	seen  map[netip.AddrPort]int // packets sent, by destination, whether or not anybody listens
}

func newWire() *wire {
	return &wire{conns: make(map[netip.AddrPort]*wireConn), seen: make(map[netip.AddrPort]int)}
}

type wirePacket struct {
	b    []byte
	from netip.AddrPort
}

type wireConn struct {
	w     *wire
	addr  netip.AddrPort
	in    chan wirePacket
	gone  chan struct{}
	close sync.Once
}

func (w *wire) listen(ap netip.AddrPort) (net.PacketConn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.conns[ap] != nil {
		return nil, fmt.Errorf("wire: %v in use", ap)
	}
	c := &wireConn{w: w, addr: ap, in: make(chan wirePacket, 1024), gone: make(chan struct{})}
	w.conns[ap] = c
	return c, nil
}

func (c *wireConn) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case p := <-c.in:
		return copy(b, p.b), net.UDPAddrFromAddrPort(p.from), nil
	case <-c.gone:
		return 0, nil, net.ErrClosed
	}
}

func (c *wireConn) WriteTo(b []byte, to net.Addr) (int, error) {
	c.w.send(c.addr, to.(*net.UDPAddr).AddrPort(), b)
	return len(b), nil
}

// send delivers a packet, from whatever source the test likes to pretend.
func (w *wire) send(from, to netip.AddrPort, b []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen[to]++
	if d := w.conns[to]; d != nil {
		select {
		case d.in <- wirePacket{bytes.Clone(b), from}:
		default:
		}
	}
}

func (w *wire) count(to netip.AddrPort) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen[to]
}

func (c *wireConn) Close() error {
	c.close.Do(func() {
		close(c.gone)
		c.w.mu.Lock()
		delete(c.w.conns, c.addr)
		c.w.mu.Unlock()
	})
	return nil
}
func (c *wireConn) LocalAddr() net.Addr              { return net.UDPAddrFromAddrPort(c.addr) }
func (c *wireConn) SetDeadline(time.Time) error      { return nil }
func (c *wireConn) SetReadDeadline(time.Time) error  { return nil }
func (c *wireConn) SetWriteDeadline(time.Time) error { return nil }

// lab is a relay on a wire.
type lab struct {
	t   *testing.T
	w   *wire
	s   *Server
	reg *prometheus.Registry
	log *bytes.Buffer
}

func newLab(t *testing.T, change func(*Config)) *lab {
	t.Helper()
	l := &lab{t: t, w: newWire(), reg: prometheus.NewRegistry(), log: new(bytes.Buffer)}
	pc := l.listen(relayUDP)
	c := &Config{
		PacketConns: []net.PacketConn{pc}, RelayIP: relayIP, Secrets: []string{secret}, Registerer: l.reg,
		HostAddrs: func() []netip.Addr { return []netip.Addr{relayIP, netip.MustParseAddr("10.9.9.9")} },
		ListenRelay: func(port int) (net.PacketConn, error) {
			return l.w.listen(netip.AddrPortFrom(relayIP, uint16(port)))
		},
		Log: slog.New(slog.NewTextHandler(l.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if change != nil {
		change(c)
	}
	s, err := New(c)
	ok(t, err)
	l.s = s
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	t.Cleanup(func() {
		ok(t, s.Close())
		if err := <-served; err != ErrClosed {
			t.Errorf("Serve returned %v, want ErrClosed", err)
		}
		if n := s.Allocations(); n != 0 || len(s.quota.users) != 0 {
			t.Errorf("%d allocations, %d users after Close", n, len(s.quota.users))
		}
	})
	return l
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (l *lab) listen(ap netip.AddrPort) net.PacketConn {
	l.t.Helper()
	pc, err := l.w.listen(ap)
	ok(l.t, err)
	return pc
}

// allocate makes an allocation as the user with the given ID.
func (l *lab) allocate(client, id string, onPacket func([]byte, netip.AddrPort)) *turnx.Allocation {
	l.t.Helper()
	user, pass := Credential(secret, id, time.Now().Add(time.Hour))
	a, err := turnx.Allocate(l.t.Context(), &turnx.ClientConfig{
		Conn: l.listen(netip.MustParseAddrPort(client)), Server: relayUDP, Username: user, Password: pass, OnPacket: onPacket,
	})
	ok(l.t, err)
	l.t.Cleanup(func() { a.Close() })
	return a
}

// metric returns the value of a metric, labels summed unless given as name=value.
func (l *lab) metric(name string, labels ...string) float64 {
	l.t.Helper()
	families, err := l.reg.Gather()
	ok(l.t, err)
	sum := 0.0
	for _, f := range families {
		if f.GetName() != "runnel_relay_"+name {
			continue
		}
	next:
		for _, m := range f.GetMetric() {
			for _, want := range labels {
				found := false
				for _, p := range m.GetLabel() {
					found = found || p.GetName()+"="+p.GetValue() == want
				}
				if !found {
					continue next
				}
			}
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return sum
}

// raw speaks TURN by hand, for what no decent client does.
type raw struct {
	t      testing.TB
	pc     net.PacketConn
	to     netip.AddrPort
	user   string
	key    []byte
	nonce  []byte
	pass   string
	answer []byte
}

func (l *lab) raw(client, id string) *raw {
	user, pass := Credential(secret, id, time.Now().Add(time.Hour))
	pc := l.listen(netip.MustParseAddrPort(client))
	l.t.Cleanup(func() { pc.Close() })
	return &raw{t: l.t, pc: pc, to: relayUDP, user: user, pass: pass}
}

// send sends bytes and returns the answer, or nil when there is none.
func (r *raw) send(b []byte) []byte {
	_, _ = r.pc.WriteTo(b, net.UDPAddrFromAddrPort(r.to))
	synctest.Wait()
	select {
	case p := <-r.pc.(*wireConn).in:
		return p.b
	default:
		return nil
	}
}

// do sends an authenticated request, answering a challenge first, and returns the error code of the answer: 0 for
// success, -1 for silence.
func (r *raw) do(m stunx.Method, attrs func(*stunx.Builder)) int {
	r.t.Helper()
	if attrs == nil {
		attrs = func(*stunx.Builder) {}
	}
	if r.nonce == nil {
		b := r.send(stunx.NewBuilder(nil, stunx.Allocate, stunx.Request, stunx.NewTransaction()).Add(stunx.RequestedTransport, []byte{17, 0, 0, 0}).Bytes())
		if stunx.ErrorOf(b) != 401 {
			r.t.Fatalf("no challenge: % x", b)
		}
		r.nonce, _ = stunx.Get(b, stunx.Nonce)
		realm, _ := stunx.Get(b, stunx.Realm)
		r.key = stunx.LongTermKey(r.user, string(realm), r.pass)
	}
	b := stunx.NewBuilder(nil, m, stunx.Request, stunx.NewTransaction())
	attrs(b)
	b.Add(stunx.UsernameAttr, []byte(r.user)).Add(stunx.Realm, []byte("runnel")).Add(stunx.Nonce, r.nonce).AddIntegrity(r.key)
	r.answer = r.send(b.Bytes())
	if r.answer == nil {
		return -1
	}
	if _, class := stunx.Type(r.answer); class == stunx.Success {
		return 0
	}
	return stunx.ErrorOf(r.answer)
}

func (r *raw) allocate() int {
	r.t.Helper()
	return r.do(stunx.Allocate, func(b *stunx.Builder) { b.Add(stunx.RequestedTransport, []byte{17, 0, 0, 0}) })
}

func (r *raw) permit(peers ...string) int {
	r.t.Helper()
	return r.do(stunx.CreatePermission, func(b *stunx.Builder) {
		for _, p := range peers {
			b.AddXORAddr(stunx.XORPeerAddress, netip.AddrPortFrom(netip.MustParseAddr(p), 9))
		}
	})
}

func (r *raw) bind(number uint16, peer netip.AddrPort) int {
	r.t.Helper()
	return r.do(stunx.ChannelBind, func(b *stunx.Builder) {
		b.Add(stunx.ChannelNumber, []byte{byte(number >> 8), byte(number), 0, 0}).AddXORAddr(stunx.XORPeerAddress, peer)
	})
}

func (r *raw) indication(peer netip.AddrPort, data string) {
	r.send(stunx.NewBuilder(nil, stunx.Send, stunx.Indication, stunx.NewTransaction()).
		AddXORAddr(stunx.XORPeerAddress, peer).Add(stunx.DataAttr, []byte(data)).Bytes())
}
