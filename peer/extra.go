// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/pionx/stunx"
	"github.com/seed-98f0d4c2/runnel/internal/udp"
	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// maxExtra bounds the extra sockets of an endpoint: two attempts have at most 256 each, and what is left is for sessions that
// are carried by one, or may be.
const maxExtra = 1024

var errTooManyExtra = errors.New("peer: too many sockets for hard NATs")

// An extraSocket is a UDP socket that one session has opened to get through a hard NAT. A path by it has a negative via.
type extraSocket struct {
	e    *Endpoint
	via  int32
	pc   net.PacketConn
	conn atomic.Pointer[udp.Conn] // once it is to carry a session
}

// openExtra opens an IPv4 socket on a port of the system's choice, on the address that the endpoint listens on.
func (e *Endpoint) openExtra() (*extraSocket, error) {
	if e.extraCount.Add(1) > maxExtra {
		e.extraCount.Add(-1)
		return nil, errTooManyExtra
	}
	local := netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
	if s := e.socketFor(local.Addr()); s != nil {
		local = netip.AddrPortFrom(s.conn.LocalAddr().Addr(), 0)
	}
	pc, err := e.cfg.Network.ListenPacket(e.ctx, "udp4", local)
	if err != nil {
		e.extraCount.Add(-1)
		return nil, err
	}
	x := &extraSocket{e: e, via: e.lastExtra.Add(-1), pc: pc}
	e.extras.Store(x.via, x)
	e.wg.Go(x.read)
	return x, nil
}

func (x *extraSocket) close() {
	if _, ok := x.e.extras.LoadAndDelete(x.via); ok {
		x.e.extraCount.Add(-1)
	}
	_ = x.pc.Close()
}

// extra returns the extra socket that a negative via names, or nil.
func (e *Endpoint) extra(via int32) *extraSocket {
	if x, ok := e.extras.Load(via); ok {
		return x.(*extraSocket)
	}
	return nil
}

// keep makes the socket fit to carry a session: a search has too many of them to have large buffers for each.
func (x *extraSocket) keep() {
	if x.conn.Load() == nil {
		x.conn.Store(udp.New(x.pc))
		_ = x.pc.SetReadDeadline(time.Unix(1, 0)) // wake the reader
	}
}

func (x *extraSocket) write(b []byte, segment int, to netip.AddrPort, mark wire.ECN) (sent int, err error) {
	if c := x.conn.Load(); c != nil {
		return c.WriteBatch(b, segment, to, mark)
	}
	for len(b) > 0 {
		n := min(segment, len(b))
		if _, e := x.pc.WriteTo(b[:n], net.UDPAddrFromAddrPort(to)); e == nil {
			sent++
		} else if err == nil {
			err = e
		}
		b = b[n:]
	}
	return sent, err
}

// read owns reading from the socket until it is closed.
func (x *extraSocket) read() {
	small := make([]byte, udp.BufferSize)
	for x.conn.Load() == nil {
		n, addr, err := x.pc.ReadFrom(small)
		if err != nil {
			if isClosed(err) || !errors.Is(err, os.ErrDeadlineExceeded) && !udp.Temporary(err) {
				return
			}
			continue
		}
		if from, ok := addr.(*net.UDPAddr); ok {
			ap := from.AddrPort()
			x.handle(nil, udp.Batch{N: n, Segment: n, From: netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())}, small[:n])
		}
	}
	buf := udp.GetBuffer(udp.MaxBatch)
	defer func() { buf.Release() }()
	for {
		r, err := x.conn.Load().ReadBatch(buf.Bytes())
		switch {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded):
			_ = x.pc.SetReadDeadline(time.Time{}) // it was only to wake us
			continue
		case isClosed(err) || !udp.Temporary(err):
			return
		default:
			continue
		}
		x.handle(buf, r, buf.Bytes()[:r.N])
		if buf.Shared() {
			buf.Release()
			buf = udp.GetBuffer(udp.MaxBatch)
		}
	}
}

// handle sorts what has come: packets of sessions and answers of STUN servers, nothing else.
func (x *extraSocket) handle(buf *udp.Buffer, r udp.Batch, b []byte) {
	for len(b) > 0 {
		n := min(r.Segment, len(b))
		switch {
		case udp.Classify(b) == udp.Runnel:
			if n < len(b) {
				n = runLength(b, r.Segment)
			}
			x.e.handleRunnel(train{buf: buf, b: b[:n], segment: r.Segment, via: x.via, mark: r.ECN, from: r.From})
		case !stunx.Sane(b[:n]) || !x.e.stun.handle(b[:n], r.From):
			x.e.drop(dropForeignSTUN)
		}
		b = b[n:]
	}
}
