// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package icex_test

import (
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/netlab"
	"github.com/seed-98f0d4c2/runnel/internal/pionx/icex"
)

// endpoint is a socket, or one per family, with a mux.
type endpoint struct {
	t     *testing.T
	mux   *icex.Mux
	conns [2]net.PacketConn // by family
	other chan datagram     // what is not for the mux
	sent  atomic.Int64
	// meddle may change or drop (nil) what comes in. Set it before anything does.
	meddle func(b []byte) []byte
}

type datagram struct {
	b    string
	from netip.AddrPort
}

// newEndpoint reads the sockets until the test ends. local lists the addresses of the endpoint; if empty they are
// those of the sockets.
func newEndpoint(t *testing.T, local []netip.AddrPort, conns ...net.PacketConn) *endpoint {
	t.Helper()
	e := &endpoint{t: t, other: make(chan datagram, 16)}
	for _, c := range conns {
		ap := c.LocalAddr().(*net.UDPAddr).AddrPort()
		if ap.Addr().Unmap().Is4() {
			e.conns[0] = c
		} else {
			e.conns[1] = c
		}
		if local == nil {
			local = []netip.AddrPort{netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())}
		}
	}
	e.mux = icex.NewMux(func(b []byte, to netip.AddrPort) error {
		e.sent.Add(1)
		c := e.conns[0]
		if !to.Addr().Is4() {
			c = e.conns[1]
		}
		if c == nil {
			return net.ErrClosed
		}
		_, err := c.WriteTo(b, net.UDPAddrFromAddrPort(to))
		return err
	}, func() []netip.AddrPort { return local })
	done := make(chan struct{})
	for _, c := range conns {
		go func() {
			defer func() { done <- struct{}{} }()
			buf := make([]byte, 2048)
			for {
				n, addr, err := c.ReadFrom(buf)
				if err != nil {
					return
				}
				b, from := buf[:n], addr.(*net.UDPAddr).AddrPort()
				if e.meddle != nil {
					b = e.meddle(b)
				}
				if len(b) > 0 && !e.mux.HandleSTUN(b, from) {
					select {
					case e.other <- datagram{string(b), from}:
					default:
					}
				}
			}
		}()
	}
	t.Cleanup(func() {
		if err := e.mux.Close(); err != nil {
			t.Errorf("mux: %v", err)
		}
		for _, c := range conns {
			_ = c.Close()
			<-done
		}
	})
	return e
}

// agent makes an agent that reports to the returned channels.
func (e *endpoint) agent(controlling bool) *agent {
	e.t.Helper()
	a := &agent{t: e.t, checks: make(chan netip.AddrPort, 1024), selected: make(chan netip.AddrPort, 16)}
	var err error
	a.Agent, err = icex.NewAgent(&icex.Config{
		Mux:         e.mux,
		Controlling: controlling,
		OnCheck:     func(from netip.AddrPort) { a.checks <- from },
		OnSelected:  func(remote netip.AddrPort) { a.selected <- remote },
	})
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() {
		if err := a.Close(); err != nil {
			e.t.Errorf("agent: %v", err)
		}
	})
	return a
}

// agent fails the test instead of returning errors.
type agent struct {
	t *testing.T
	*icex.Agent
	checks, selected chan netip.AddrPort
}

func (a *agent) start(peer *agent) {
	a.t.Helper()
	if err := a.Start(peer.Credentials()); err != nil {
		a.t.Fatal(err)
	}
}

func (a *agent) add(kind string, addrs ...netip.AddrPort) {
	a.t.Helper()
	for _, addr := range addrs {
		if err := a.AddRemote(addr, kind); err != nil {
			a.t.Fatal(err)
		}
	}
}

// wantSelected waits for a selection.
func (a *agent) wantSelected(within time.Duration) netip.AddrPort {
	a.t.Helper()
	select {
	case to := <-a.selected:
		return to
	case <-time.After(within):
		a.t.Fatalf("no pair selected within %v", within)
		return netip.AddrPort{}
	}
}

// world is a virtual network with a server that tells who is asking.
type world struct {
	t   *testing.T
	net *netlab.Network
	srv netip.AddrPort
}

func newWorld(t *testing.T, c netlab.Config) *world {
	t.Helper()
	n, err := netlab.New(&c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	h, err := n.AddHostWith(netlab.HostConfig{})
	if err != nil {
		t.Fatal(err)
	}
	pc, err := h.ListenPacket(t.Context(), "udp4", netip.MustParseAddrPort("0.0.0.0:3478"))
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		buf := make([]byte, 100)
		for {
			_, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = pc.WriteTo([]byte(from.String()), from)
		}
	}()
	return &world{t, n, netip.AddrPortFrom(h.PublicAddr(), 3478)}
}

// endpoint adds a host with an endpoint and returns its addresses on the host and outside.
func (w *world) endpoint(nat netlab.NAT) (e *endpoint, h *netlab.Host, host, srflx netip.AddrPort) {
	w.t.Helper()
	h, err := w.net.AddHost(nat)
	if err != nil {
		w.t.Fatal(err)
	}
	pc, err := h.ListenPacket(w.t.Context(), "udp4", netip.AddrPort{})
	if err != nil {
		w.t.Fatal(err)
	}
	addrs, _ := h.LocalAddrs()
	host = netip.AddrPortFrom(addrs[0], pc.LocalAddr().(*net.UDPAddr).AddrPort().Port())
	e = newEndpoint(w.t, []netip.AddrPort{host}, pc)
	for range 100 { // the network may be lossy
		_, _ = pc.WriteTo([]byte("who am I?"), net.UDPAddrFromAddrPort(w.srv))
		select {
		case d := <-e.other:
			return e, h, host, netip.MustParseAddrPort(d.b)
		case <-time.After(time.Second):
		}
	}
	w.t.Fatal("no answer from the server")
	return nil, nil, host, srflx
}

// bubble runs f in virtual time. A goroutine that is left when f and its cleanups have ended fails the test.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}
