// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package netlab

import (
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// queueLen is how many packets a socket holds for its reader. A kernel's default buffer holds about as many.
const queueLen = 1024

type datagram struct {
	b    []byte
	from netip.AddrPort
}

// A mailbox is the half of a socket that waits for packets.
type mailbox struct {
	host  *Host
	local netip.AddrPort
	queue chan datagram
	read  deadline

	once sync.Once
	done chan struct{}
}

func newMailbox(h *Host, local netip.AddrPort) *mailbox {
	m := &mailbox{host: h, local: local, queue: make(chan datagram, queueLen), done: make(chan struct{})}
	m.read.reset()
	return m
}

// receive takes a packet, which it keeps. It never blocks.
func (m *mailbox) receive(b []byte, from netip.AddrPort) {
	select {
	case m.queue <- datagram{b, from}:
	default:
		m.host.dropped.Add(1)
	}
}

// ReadFrom waits for a packet. As with any UDP socket, what does not fit into b is lost. The address is a
// *net.UDPAddr.
func (m *mailbox) ReadFrom(b []byte) (int, net.Addr, error) {
	expired := m.read.channel()
	select { // a deadline or a close that has passed wins over a packet that waits
	case <-m.done:
		return 0, nil, m.opError("read", net.ErrClosed)
	case <-expired:
		return 0, nil, m.opError("read", os.ErrDeadlineExceeded)
	default:
	}
	select {
	case d := <-m.queue:
		return copy(b, d.b), net.UDPAddrFromAddrPort(d.from), nil
	case <-expired:
		return 0, nil, m.opError("read", os.ErrDeadlineExceeded)
	case <-m.done:
		return 0, nil, m.opError("read", net.ErrClosed)
	}
}

// close wakes readers, which get net.ErrClosed, and calls leave, once.
func (m *mailbox) close(leave func()) error {
	err := m.opError("close", net.ErrClosed)
	m.once.Do(func() {
		close(m.done)
		m.read.stop()
		leave()
		err = nil
	})
	return err
}

func (m *mailbox) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(m.local) }

func (m *mailbox) SetDeadline(t time.Time) error      { return m.SetReadDeadline(t) }
func (m *mailbox) SetWriteDeadline(_ time.Time) error { return nil } // writes never wait
func (m *mailbox) SetReadDeadline(t time.Time) error {
	select {
	case <-m.done:
		return m.opError("set", net.ErrClosed)
	default:
	}
	m.read.set(t)
	return nil
}

func (m *mailbox) opError(op string, err error) error {
	network := "udp4"
	if m.local.Addr().Is6() {
		network = "udp6"
	}
	return &net.OpError{Op: op, Net: network, Source: m.LocalAddr(), Err: err}
}
