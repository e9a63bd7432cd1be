// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/pionx/turnx"
)

const (
	acceptPauseMin = 5 * time.Millisecond
	acceptPauseMax = time.Second
)

// accept serves one listener until it is closed. Any other error of Accept, such as running out of file descriptors,
// passes: the loop waits and tries again, as net/http does.
func (s *Server) accept(l net.Listener) {
	pause := time.Duration(0)
	for {
		c, err := l.Accept()
		if err != nil {
			select {
			case <-s.done:
				return
			default:
			}
			if errors.Is(err, net.ErrClosed) {
				s.log.Error("listener closed", slog.String("addr", l.Addr().String()))
				return
			}
			s.metrics.acceptErrs.Inc()
			pause = min(max(2*pause, acceptPauseMin), acceptPauseMax)
			if pause == acceptPauseMin {
				s.log.Warn("accept failed, trying again", slog.Any("err", err))
			}
			timer := time.NewTimer(pause)
			select {
			case <-timer.C:
			case <-s.done:
				timer.Stop()
				return
			}
			continue
		}
		pause = 0
		s.stream(c)
	}
}

// stream serves one accepted connection with a server of its own, so that its allocation ends with it.
func (s *Server) stream(c net.Conn) {
	from := addrPort(c.RemoteAddr()).Addr()
	if !s.conns.add(from) {
		s.metrics.conns.WithLabelValues("refused").Inc()
		c.Close()
		return
	}
	s.metrics.conns.WithLabelValues("accepted").Inc()
	kind := "tcp"
	if _, ok := c.(*tls.Conn); ok {
		kind = "tls"
	}
	// Bounds the TLS handshake too, which the first read performs.
	_ = c.SetReadDeadline(time.Now().Add(s.c.FirstMessage))
	g := newGate(s, turnx.NewStreamConn(c), kind, func() { s.conns.remove(from) })
	if err := s.serve(g); err != nil {
		c.Close()
		s.conns.remove(from)
	}
}

// connTable counts streams in all and per source.
type connTable struct {
	max, perIP int

	mu      sync.Mutex
	n       int
	sources map[netip.Prefix]int
}

func newConnTable(total, perIP int) *connTable {
	return &connTable{max: total, perIP: perIP, sources: make(map[netip.Prefix]int)}
}

// source is what is counted as one: an IPv4 address, or the /64 that one IPv6 customer has at least.
func source(a netip.Addr) netip.Prefix {
	bits := 32
	if !a.Is4() {
		bits = 64
	}
	p, _ := a.WithZone("").Prefix(bits)
	return p
}

func (t *connTable) add(a netip.Addr) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := source(a)
	if t.n >= t.max || t.sources[k] >= t.perIP {
		return false
	}
	t.n++
	t.sources[k]++
	return true
}

func (t *connTable) remove(a netip.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := source(a)
	t.n--
	if t.sources[k]--; t.sources[k] == 0 {
		delete(t.sources, k)
	}
}

func (t *connTable) live() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.n
}

// addrPort converts an address of a socket; IPv4-mapped addresses are unmapped.
func addrPort(a net.Addr) netip.AddrPort {
	var ap netip.AddrPort
	switch a := a.(type) {
	case *net.UDPAddr:
		ap = a.AddrPort()
	case *net.TCPAddr:
		ap = a.AddrPort()
	default:
		if a != nil {
			ap, _ = netip.ParseAddrPort(a.String())
		}
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
