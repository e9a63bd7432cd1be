// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package udp

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// PipeQueue is how many datagrams a [Pipe] holds for its reader. More are dropped and counted, as a socket does.
const PipeQueue = 256

// A Pipe is one server's share of a socket: a [net.PacketConn] that receives what is delivered to it and sends
// through a function. A TURN client runs on a Pipe while the endpoint's socket serves everybody else too.
type Pipe struct {
	local, remote netip.AddrPort
	write         func(b []byte, to netip.AddrPort) error

	queue   chan datagram
	done    chan struct{} // closed by Close
	close   sync.Once
	read    *deadline
	dropped atomic.Uint64
}

type datagram struct {
	buf *Buffer
	n   int
}

// NewPipe returns a Pipe to remote. local is what LocalAddr reports. write sends a datagram to remote; it is called
// from the goroutine that calls WriteTo and must not keep b.
func NewPipe(local, remote netip.AddrPort, write func(b []byte, to netip.AddrPort) error) *Pipe {
	return &Pipe{
		local:  unmap(local),
		remote: unmap(remote),
		write:  write,
		queue:  make(chan datagram, PipeQueue),
		done:   make(chan struct{}),
		read:   newDeadline(),
	}
}

// Deliver hands the Pipe a copy of a datagram that arrived from the given address. It never blocks. It reports
// false if the datagram was not taken: it is not from the remote, the queue is full (counted by Dropped), or the
// Pipe is closed.
func (p *Pipe) Deliver(b []byte, from netip.AddrPort) bool {
	if unmap(from) != p.remote {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
	}
	if len(b) > BufferSize {
		p.dropped.Add(1)
		return false
	}
	d := datagram{GetBuffer(len(b)), len(b)}
	copy(d.buf.Bytes(), b)
	select {
	case p.queue <- d:
		return true
	default:
		d.buf.Release()
		p.dropped.Add(1)
		return false
	}
}

// Dropped returns how many datagrams were dropped because the reader was slow.
func (p *Pipe) Dropped() uint64 { return p.dropped.Load() }

// ReadFrom waits for a datagram and copies it into b; what does not fit is lost. The address is always the remote.
func (p *Pipe) ReadFrom(b []byte) (int, net.Addr, error) {
	passed := p.read.passed()
	// Closed or late comes first, even if datagrams are waiting.
	select {
	case <-p.done:
		return 0, nil, p.opError("read", net.ErrClosed)
	case <-passed:
		return 0, nil, p.opError("read", os.ErrDeadlineExceeded)
	default:
	}
	select {
	case d := <-p.queue:
		n := copy(b, d.buf.Bytes()[:d.n])
		d.buf.Release()
		return n, net.UDPAddrFromAddrPort(p.remote), nil
	case <-p.done:
		return 0, nil, p.opError("read", net.ErrClosed)
	case <-passed:
		return 0, nil, p.opError("read", os.ErrDeadlineExceeded)
	}
}

// WriteTo sends b to the remote. Any other address is an error.
func (p *Pipe) WriteTo(b []byte, addr net.Addr) (int, error) {
	select {
	case <-p.done:
		return 0, p.opError("write", net.ErrClosed)
	default:
	}
	to, err := addrPort(addr)
	if err != nil {
		return 0, err
	}
	if to != p.remote {
		return 0, fmt.Errorf("udp: write to %v on a pipe to %v", to, p.remote)
	}
	if err := p.write(b, to); err != nil {
		return 0, err
	}
	return len(b), nil
}

// Close makes reads and writes fail with [net.ErrClosed]. The socket behind the Pipe stays open.
func (p *Pipe) Close() error {
	p.close.Do(func() {
		close(p.done)
		p.read.set(time.Time{}) // stop the timer
	})
	return nil
}

// LocalAddr returns the address given to NewPipe.
func (p *Pipe) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(p.local) }

// SetDeadline sets the deadline of reads; see SetWriteDeadline.
func (p *Pipe) SetDeadline(t time.Time) error { return p.SetReadDeadline(t) }

// SetReadDeadline sets when reads, also blocked ones, fail with [os.ErrDeadlineExceeded]. Zero means never.
func (p *Pipe) SetReadDeadline(t time.Time) error {
	select {
	case <-p.done:
		return p.opError("set", net.ErrClosed)
	default:
	}
	p.read.set(t)
	return nil
}

// SetWriteDeadline does nothing: writes do not wait.
func (p *Pipe) SetWriteDeadline(time.Time) error { return nil }

func (p *Pipe) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "udp", Source: p.LocalAddr(), Addr: net.UDPAddrFromAddrPort(p.remote), Err: err}
}
