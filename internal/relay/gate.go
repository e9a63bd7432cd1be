// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/pionx/stunx"
)

// maxReadErrors in a row, some ten seconds' worth, mean that a socket is broken for good.
const maxReadErrors = 1 << 14

// gate stands between a socket or stream and the TURN protocol core. Every packet from outside passes ReadFrom, which
// drops or answers by itself whatever the core would treat carelessly, and hands on only what is authenticated, within
// limits and allowed. The core reads in one loop and calls back (key, relay, permit) from inside that loop, strictly
// between two reads: so the request in cur is the one that a call is about.
type gate struct {
	s         *Server
	inner     net.PacketConn
	udp       *net.UDPConn // inner, when it is one: no allocation per packet
	transport string
	onEnd     func() // may be nil
	stunOnly  bool
	end       sync.Once
	spoke     bool   // the stream has sent something sensible; reader only
	answers   bucket // of a stream; reader only

	cur request // reader only

	mu     sync.RWMutex
	allocs map[netip.AddrPort]*allocation // by client

	// Allocations that had to make room and that the core still knows.
	evicted map[netip.AddrPort]*allocation
}

// request is a request that was handed to the core.
type request struct {
	tx     [12]byte
	client netip.AddrPort
	who    identity
	key    []byte // nil: without valid credentials
	even   bool   // an even port is wanted
	commit func() // what to remember if the core consents
}

func newGate(s *Server, pc net.PacketConn, transport string, onEnd func()) *gate {
	g := &gate{
		s: s, inner: pc, transport: transport, onEnd: onEnd, allocs: make(map[netip.AddrPort]*allocation),
		evicted: make(map[netip.AddrPort]*allocation),
	}
	g.udp, _ = pc.(*net.UDPConn)
	return g
}

func (g *gate) stream() bool { return g.transport != "udp" }

// mayAnswer says whether a client that has shown no credentials may be answered now. The sender of a stream is where it
// says it is and has a bucket of its own: datagrams with its address must not use up what it may be answered.
func (g *gate) mayAnswer(from netip.Addr) bool {
	now := time.Now()
	if !g.stream() {
		return g.s.answers.allow(from, now)
	}
	if g.s.c.AnswerRate < 0 {
		return true
	}
	return g.answers.take(now, g.s.c.AnswerRate, float64(g.s.c.AnswerBurst))
}

// ReadFrom returns the next packet that the core may see.
func (g *gate) ReadFrom(b []byte) (int, net.Addr, error) {
	for bad := 0; ; {
		n, from, addr, err := g.read(b)
		if err != nil {
			if bad++; !g.over(err) && bad < maxReadErrors {
				// ICMP errors of earlier answers and shortages of memory come and go.
				if bad%16 == 0 {
					time.Sleep(10 * time.Millisecond)
				}
				continue
			}
			g.end.Do(func() {
				if g.onEnd != nil {
					g.onEnd()
				}
				g.s.gone(g)
			})
			return 0, nil, err
		}
		bad = 0
		a := g.allocation(from)
		if a != nil {
			a.heard.Store(time.Now().UnixNano())
		}
		n, ok := g.admit(b[:n], from, a)
		if g.stream() && !g.spoke && ok {
			g.spoke = true
			_ = g.inner.SetReadDeadline(time.Now().Add(g.s.c.IdleStream))
		}
		if !ok {
			continue
		}
		switch {
		case addr != nil:
		case a != nil:
			addr = a.addr
		default:
			addr = net.UDPAddrFromAddrPort(from)
		}
		return n, addr, nil
	}
}

// read reads one packet; addr is nil when it would have to be made.
func (g *gate) read(b []byte) (int, netip.AddrPort, net.Addr, error) {
	if g.udp != nil {
		n, from, err := g.udp.ReadFromUDPAddrPort(b)
		return n, netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), nil, err
	}
	n, addr, err := g.inner.ReadFrom(b)
	if err != nil {
		return 0, netip.AddrPort{}, nil, err
	}
	return n, addrPort(addr), addr, nil
}

// over reports whether a read error is the last.
func (g *gate) over(err error) bool {
	if g.stream() || errors.Is(err, net.ErrClosed) {
		return true
	}
	select {
	case <-g.s.done:
		return true
	default:
		return false
	}
}

func (g *gate) allocation(client netip.AddrPort) *allocation {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.allocs[client]
}

// admit decides about one packet: how many of its bytes the core gets to see, if any.
func (g *gate) admit(b []byte, from netip.AddrPort, a *allocation) (int, bool) {
	switch {
	case len(b) < 4:
		return g.drop("malformed")
	case b[0]>>6 == 1: // channel data
		switch {
		case int(binary.BigEndian.Uint16(b[2:])) > len(b)-4:
			return g.drop("malformed")
		case a == nil:
			return g.drop("no_allocation")
		case !a.hasChannel(binary.BigEndian.Uint16(b)):
			return g.drop("no_channel")
		}
		return len(b), true
	case !stunx.Sane(b):
		return g.drop("malformed")
	}
	m, class := stunx.Type(b)
	switch {
	case g.stunOnly && (m != stunx.Binding || class != stunx.Request):
		return g.drop("not_stun")
	case class == stunx.Indication && m == stunx.Send:
		return g.sendIndication(b, a)
	case class != stunx.Request:
		return g.drop("not_a_request") // never answer what is not a request: that is how loops begin
	}
	switch m {
	case stunx.Binding:
		return g.binding(b, from)
	case stunx.Allocate, stunx.Refresh, stunx.CreatePermission, stunx.ChannelBind:
		return g.request(m, b, from, a)
	}
	return g.drop("unknown_method")
}

func (g *gate) drop(reason string) (int, bool) {
	g.s.metrics.dropped.WithLabelValues(reason).Inc()
	return 0, false
}

// sendIndication lets a Send indication pass that the core can serve. The policy is applied where it is sent.
func (g *gate) sendIndication(b []byte, a *allocation) (int, bool) {
	if a == nil {
		return g.drop("no_allocation")
	}
	v, ok := stunx.Get(b, stunx.XORPeerAddress)
	peer, ok2 := stunx.XORAddr(v, stunx.TransactionID(b))
	if _, ok3 := stunx.Get(b, stunx.DataAttr); !ok || !ok2 || !ok3 {
		return g.drop("malformed")
	}
	if !a.permits(peer.Addr().Unmap()) {
		return g.drop("no_permission")
	}
	return len(b), true
}

// binding answers a STUN Binding request as tersely as can be: 32 bytes for 20, FINGERPRINT only for who uses it.
func (g *gate) binding(b []byte, from netip.AddrPort) (int, bool) {
	if !g.mayAnswer(from.Addr()) {
		g.s.metrics.suppressed.Inc()
		return 0, false
	}
	if unknown := unknownAttributes(b); len(unknown) > 0 {
		return g.refuse(b, from, 420, nil, unknown)
	}
	m := stunx.NewBuilder(make([]byte, 0, 64), stunx.Binding, stunx.Success, stunx.TransactionID(b)).
		AddXORAddr(stunx.XORMappedAddress, from)
	if _, ok := stunx.Get(b, stunx.Fingerprint); ok {
		m.AddFingerprint()
	}
	g.s.metrics.bindings.Inc()
	g.write(m.Bytes(), from)
	g.speak()
	return 0, false
}

// speak notes that a stream sent something that was answered here.
func (g *gate) speak() {
	if g.stream() && !g.spoke {
		g.spoke = true
		_ = g.inner.SetReadDeadline(time.Now().Add(g.s.c.IdleStream))
	}
}

// refuse answers a request with an error. Without a key the answer is unsigned; the caller has asked the limiter.
func (g *gate) refuse(b []byte, to netip.AddrPort, code int, key, unknown []byte) (int, bool) {
	m, _ := stunx.Type(b)
	r := stunx.NewBuilder(make([]byte, 0, 128), m, stunx.Failure, stunx.TransactionID(b)).AddError(code)
	if len(unknown) > 0 {
		r.Add(stunx.UnknownAttributes, unknown)
	}
	if key != nil {
		r.AddIntegrity(key)
	}
	if _, ok := stunx.Get(b, stunx.Fingerprint); ok {
		r.AddFingerprint()
	}
	g.write(r.Bytes(), to)
	g.speak()
	return 0, false
}

func (g *gate) write(b []byte, to netip.AddrPort) {
	var err error
	if g.udp != nil {
		_, err = g.udp.WriteToUDPAddrPort(b, to)
	} else {
		_, err = g.inner.WriteTo(b, net.UDPAddrFromAddrPort(to))
	}
	if err != nil {
		g.s.metrics.dropped.WithLabelValues("client_unreachable").Inc()
	}
}

// WriteTo sends what the core says to a client: answers from its reading loop, data from the allocations' loops. It
// never fails: the core would write a line for each.
func (g *gate) WriteTo(b []byte, to net.Addr) (int, error) {
	n := len(b)
	if len(b) >= stunx.HeaderSize && b[0]>>6 == 0 {
		if m, class := stunx.Type(b); class >= stunx.Success {
			b = g.answered(m, class, b)
		}
	}
	var err error
	if g.udp != nil {
		_, err = g.udp.WriteToUDPAddrPort(b, addrPort(to))
	} else {
		_, err = g.inner.WriteTo(b, to)
	}
	if err != nil {
		g.s.metrics.dropped.WithLabelValues("client_unreachable").Inc()
	}
	return n, nil
}

// answered sees the core's answer to the current request, signs what the core forgets to sign, and returns what to
// send.
func (g *gate) answered(m stunx.Method, class stunx.Class, b []byte) []byte {
	if stunx.TransactionID(b) != g.cur.tx {
		return b
	}
	if class == stunx.Success {
		if g.cur.commit != nil {
			g.cur.commit()
			g.cur.commit = nil
		}
		if m == stunx.Allocate {
			g.s.metrics.allocate.WithLabelValues("ok").Inc()
		}
	} else if m == stunx.Allocate && g.cur.key != nil {
		if code := stunx.ErrorOf(b); code != 438 {
			g.s.metrics.allocate.WithLabelValues(codeLabel(code)).Inc()
		}
	}
	code := stunx.ErrorOf(b)
	if _, signed := stunx.Get(b, stunx.MessageIntegrity); signed || class == stunx.Success || g.cur.key == nil || code == 438 {
		return b
	}
	// RFC 8489 §9.2.4: every answer to an authenticated request is signed, or its client must ignore it.
	return stunx.NewBuilder(nil, m, class, g.cur.tx).AddError(code).AddIntegrity(g.cur.key).Bytes()
}

// key is the core's question for the key of the current request, which request has verified.
func (g *gate) key(string, string, netip.AddrPort) ([]byte, bool) { return g.cur.key, g.cur.key != nil }

// permit is the core's question whether a peer may be reached; request has asked before.
func (g *gate) permit(_ netip.AddrPort, peer netip.Addr) bool { return g.s.judge(peer) == Allowed }

// Close closes the socket.
func (g *gate) Close() error        { return g.inner.Close() }
func (g *gate) LocalAddr() net.Addr { return g.inner.LocalAddr() }

// Deadlines are the gate's own business.
func (g *gate) SetDeadline(time.Time) error      { return nil }
func (g *gate) SetReadDeadline(time.Time) error  { return nil }
func (g *gate) SetWriteDeadline(time.Time) error { return nil }
