// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package netlab

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"net"
	"net/netip"
	"sync"
	"syscall"
)

// A segment is the header of a TCP packet. Numbers do not wrap; SYN has number 0, data begins at 1 and FIN has a number.
type segment struct {
	syn, fin, rst bool
	acks          bool // ack is meant
	seq, ack      uint64
	window        int // that the sender of the segment has room for
	sum           uint32
}

// tcpHost is a host's TCP.
type tcpHost struct {
	mu        sync.Mutex
	streams   map[streamKey]*stream
	listeners map[portKey]*tcpListener
	next      uint16
	closed    bool
}

type streamKey struct{ local, remote netip.AddrPort }

func (t *tcpHost) init() {
	t.streams = make(map[streamKey]*stream)
	t.listeners = make(map[portKey]*tcpListener)
	t.next = firstEphemeral
}

// add registers a stream; a zero local port is replaced by a free one.
func (t *tcpHost) add(s *stream) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return net.ErrClosed
	}
	if s.local.Port() != 0 {
		t.streams[streamKey{s.local, s.remote}] = s
		return nil
	}
	for range 1 << 16 {
		local := netip.AddrPortFrom(s.local.Addr(), t.next)
		if t.next++; t.next < firstEphemeral { // wrapped
			t.next = firstEphemeral
		}
		if k := (streamKey{local, s.remote}); t.streams[k] == nil && t.listeners[keyOf(local)] == nil {
			s.local = local
			t.streams[k] = s
			return nil
		}
	}
	return syscall.EADDRNOTAVAIL
}

func (t *tcpHost) remove(s *stream) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if k := (streamKey{s.local, s.remote}); t.streams[k] == s {
		delete(t.streams, k)
	}
}

func (t *tcpHost) all() []*stream {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]*stream, 0, len(t.streams))
	for _, s := range t.streams {
		all = append(all, s)
	}
	return all
}

func (t *tcpHost) closeAll() {
	t.mu.Lock()
	t.closed = true
	listeners := make([]*tcpListener, 0, len(t.listeners))
	for _, l := range t.listeners {
		listeners = append(listeners, l)
	}
	t.mu.Unlock()
	for _, l := range listeners {
		_ = l.Close() // closed before: not our concern
	}
	for _, s := range t.all() {
		s.kill(net.ErrClosed)
	}
}

// abortStreams ends the streams whose address the host no longer has. Called with h.mu held.
func (h *Host) abortStreams() {
	for _, s := range h.tcp.all() {
		if h.owner(s.local.Addr()) == nil {
			s.kill(syscall.ECONNABORTED)
		}
	}
}

func (h *Host) owns(a netip.Addr) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.owner(a) != nil
}

// sendTCP sends a segment, unless the host has no way to.
func (h *Host) sendTCP(local, remote netip.AddrPort, seg segment, payload []byte) {
	i, _, err := h.route(local.Addr(), remote.Addr())
	if err != nil || h.down.Load() {
		return
	}
	seg.sum = crc32.ChecksumIEEE(payload)
	i.site.send(message{local, remote, append([]byte(nil), payload...), &seg})
}

// takeTCP takes a segment. It is called by the core's goroutine, with no lock held.
func (h *Host) takeTCP(m message) {
	if h.down.Load() || m.tcp.sum != crc32.ChecksumIEEE(m.payload) || !h.owns(m.dst.Addr()) {
		return
	}
	h.tcp.mu.Lock()
	s, l := h.tcp.streams[streamKey{m.dst, m.src}], h.tcp.listeners[keyOf(m.dst)]
	h.tcp.mu.Unlock()
	switch {
	case s != nil:
		s.handle(m.tcp, m.payload)
	case m.tcp.rst:
	case m.tcp.syn && !m.tcp.acks && l != nil && (l.addr.Addr().IsUnspecified() || l.addr.Addr() == m.dst.Addr()):
		s = newStream(h, m.dst, m.src)
		s.listener, s.recvNext = l, 1
		if h.tcp.add(s) == nil {
			s.begin()
		}
	default:
		h.sendTCP(m.dst, m.src, segment{rst: true}, nil)
	}
}

// DialContext opens a stream to a listener on this network: in order, reliable, with one round trip to set up. Network is
// "tcp", "tcp4" or "tcp6"; address is an IP address and a port. Losses and cuts delay what is sent; a host whose address is
// gone gets ECONNABORTED; a NAT that has forgotten the connection shows as ECONNRESET at the next write; two minutes
// without an answer are ETIMEDOUT. Nothing is slowed down to spare the network.
func (h *Host) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	fail := func(err error) error { return &net.OpError{Op: "dial", Net: network, Err: err} }
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, fail(fmt.Errorf("%w: %w", ErrConfig, err))
	}
	to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	switch v6 := to.Addr().Is6(); {
	case network != "tcp" && network != "tcp4" && network != "tcp6":
		return nil, fail(net.UnknownNetworkError(network))
	case v6 && network == "tcp4", !v6 && network == "tcp6":
		return nil, fail(syscall.EAFNOSUPPORT)
	}
	wild := netip.IPv4Unspecified()
	if to.Addr().Is6() {
		wild = netip.IPv6Unspecified()
	}
	_, src, err := h.route(wild, to.Addr())
	if err != nil {
		return nil, fail(err)
	}
	s := newStream(h, netip.AddrPortFrom(src, 0), to)
	if err := h.tcp.add(s); err != nil {
		return nil, fail(err)
	}
	s.begin()
	if err := s.await(ctx); err != nil {
		return nil, fail(err)
	}
	return s, nil
}

// maxBacklog is how many streams wait for Accept.
const maxBacklog = 128

// tcpListener is a net.Listener on a host.
type tcpListener struct {
	host  *Host
	addr  netip.AddrPort
	queue chan *stream
	once  sync.Once
	done  chan struct{}
}

// Listen listens for streams. Network is "tcp", "tcp4" or "tcp6", and addr as for ListenPacket, but that the port must not
// be zero. Streams that wait for Accept are at most 128; further ones are refused.
func (h *Host) Listen(_ context.Context, network string, addr netip.AddrPort) (net.Listener, error) {
	fail := func(err error) error { return &net.OpError{Op: "listen", Net: network, Err: err} }
	ip := addr.Addr().Unmap()
	switch network {
	case "tcp", "tcp4":
		if !ip.IsValid() || network == "tcp" && ip.IsUnspecified() {
			ip = netip.IPv4Unspecified()
		}
	case "tcp6":
		if !ip.IsValid() {
			ip = netip.IPv6Unspecified()
		}
	default:
		return nil, fail(net.UnknownNetworkError(network))
	}
	if network == "tcp4" && ip.Is6() || network == "tcp6" && ip.Is4() || !ip.IsUnspecified() && !h.owns(ip) {
		return nil, fail(syscall.EADDRNOTAVAIL)
	}
	l := &tcpListener{
		host:  h,
		addr:  netip.AddrPortFrom(ip, addr.Port()),
		queue: make(chan *stream, maxBacklog),
		done:  make(chan struct{}),
	}
	h.tcp.mu.Lock()
	defer h.tcp.mu.Unlock()
	if h.tcp.closed {
		return nil, fail(net.ErrClosed)
	}
	if addr.Port() == 0 || h.tcp.listeners[keyOf(l.addr)] != nil {
		return nil, fail(syscall.EADDRINUSE)
	}
	h.tcp.listeners[keyOf(l.addr)] = l
	return l, nil
}

// Accept waits for a stream.
func (l *tcpListener) Accept() (net.Conn, error) {
	select {
	case s := <-l.queue:
		return s, nil
	case <-l.done:
		return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.Addr(), Err: net.ErrClosed}
	}
}

// offer gives Accept a stream that stands, and reports false if there is no room.
func (l *tcpListener) offer(s *stream) bool {
	select {
	case <-l.done:
		return false
	default:
	}
	select {
	case l.queue <- s:
		return true
	default:
		return false
	}
}

// Close ends the listener, and the streams that nobody has accepted.
func (l *tcpListener) Close() error {
	err := net.ErrClosed
	l.once.Do(func() {
		err = nil
		close(l.done)
		l.host.tcp.mu.Lock()
		delete(l.host.tcp.listeners, keyOf(l.addr))
		l.host.tcp.mu.Unlock()
		for {
			select {
			case s := <-l.queue:
				s.reset()
			default:
				return
			}
		}
	})
	return err
}

// Addr is where it listens.
func (l *tcpListener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.addr) }

// errDone is the reason of a stream that both sides have closed.
var errDone = errors.New("netlab: stream over")
