// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package udp

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

const (
	// MaxSegments is the most datagrams one system call sends: what every Linux that can do so at all takes.
	MaxSegments = 64

	// MaxTrain is the most bytes one system call sends: the largest UDP payload of IPv4.
	MaxTrain = 65507
)

// A Batch says what a call of [Conn.ReadBatch] has read: datagrams of Segment bytes each, back to back, of which the
// last may be shorter. They need not belong together in any other way than by coming from one address.
type Batch struct {
	N       int // bytes in all
	Segment int // N for a single datagram
	From    netip.AddrPort
	ECN     wire.ECN // the mark of all of them; NotECT where the system does not tell
}

// oobs are buffers for control messages: arguments of interface methods escape.
var oobs = sync.Pool{New: func() any { return new([controlSize]byte) }}

// ReadBatch reads what one system call gives into b, which should have [MaxBatch] bytes, or the end of a train may be
// cut. It blocks until something arrives or the Conn is closed; see [Temporary] for errors after which reading may go
// on.
func (c *Conn) ReadBatch(b []byte) (Batch, error) {
	if c.vigil == nil {
		return c.readBatch(b)
	}
	c.vigil.begin()
	r, err := c.readBatch(b)
	c.vigil.end()
	return r, err
}

// Expect says that something has been sent that will be answered as soon as the peer can. When answers have come within
// some microseconds lately, ReadBatch stays awake for that long. Any goroutine may call it.
func (c *Conn) Expect() {
	if c.vigil != nil && !c.vigil.spoken.Load() {
		c.vigil.spoken.Store(true)
	}
}

func (c *Conn) readBatch(b []byte) (Batch, error) {
	if c.msgs == nil {
		n, from, err := c.readFrom(b)
		return Batch{N: n, Segment: n, From: from}, err
	}
	oob := oobs.Get().(*[controlSize]byte)
	defer oobs.Put(oob)
	n, oobn, _, from, err := c.msgs.ReadMsgUDPAddrPort(b, oob[:])
	if err != nil {
		return Batch{}, err
	}
	r := Batch{N: n, Segment: n, From: unmap(from)}
	segment, mark := parseControl(oob[:oobn])
	if segment > 0 && segment < n {
		r.Segment = segment
	}
	r.ECN = mark
	return r, nil
}

func (c *Conn) readFrom(b []byte) (int, netip.AddrPort, error) {
	if c.fast != nil {
		n, from, err := c.fast.ReadFromUDPAddrPort(b)
		return n, unmap(from), err
	}
	n, addr, err := c.pc.ReadFrom(b)
	if err != nil {
		return n, netip.AddrPort{}, err
	}
	from, err := addrPort(addr)
	return n, from, err
}

// WriteBatch sends the datagrams in b, of segment bytes each but for the last, which may be shorter, with an ECN mark
// if the system can set it. b is sent as one datagram if segment is not between 1 and len(b). It returns how many
// datagrams the system took, and the first error if that is not all of them: those others are lost, and later ones may
// well be sent.
//
// It takes one system call for each 64 datagrams or 65507 bytes where the system cuts trains, else one for each
// datagram. It does not keep b and does not allocate.
func (c *Conn) WriteBatch(b []byte, segment int, to netip.AddrPort, mark wire.ECN) (sent int, err error) {
	to = unmap(to)
	if segment <= 0 || segment > len(b) {
		segment = max(len(b), 1)
	}
	train := segment * max(min(MaxSegments, MaxTrain/segment), 1)
	for first := true; first || len(b) > 0; first = false {
		n := min(len(b), train)
		k, e := c.writeTrain(b[:n], segment, to, mark)
		sent += k
		if e != nil && err == nil {
			err = e
		}
		if e != nil && errors.Is(e, net.ErrClosed) {
			break
		}
		b = b[n:]
	}
	return sent, err
}

// writeTrain sends at most as much as one system call may take.
func (c *Conn) writeTrain(b []byte, segment int, to netip.AddrPort, mark wire.ECN) (sent int, err error) {
	if len(b) <= segment {
		if err := c.writeOne(b, to, mark); err != nil {
			return 0, err
		}
		return 1, nil
	}
	total := (len(b) + segment - 1) / segment
	tried, marked := c.segments.Load(), c.marks.Load()
	if tried {
		err := c.writeControl(b, segment, to, mark)
		if err == nil {
			return total, nil
		}
		if !refused(err) {
			return 0, err
		}
	}
	// A train is refused where it leaves by an interface without checksum offload (EIO), where one of its datagrams is
	// too long for that (EINVAL or EMSGSIZE), and for other reasons that no manual lists. Sending one by one tells
	// whether the datagrams are to blame.
	for len(b) > 0 {
		n := min(segment, len(b))
		if e := c.writeOne(b[:n], to, mark); e == nil {
			sent++
		} else if err == nil {
			err = e
		}
		b = b[n:]
	}
	if tried && sent == total && marked == c.marks.Load() {
		c.segments.Store(false)
	}
	return sent, err
}

// writeOne sends b as one datagram.
func (c *Conn) writeOne(b []byte, to netip.AddrPort, mark wire.ECN) error {
	if mark == wire.NotECT || !c.marks.Load() {
		return c.WriteTo(b, to)
	}
	err := c.writeControl(b, 0, to, mark)
	if err == nil || !refused(err) || TooLong(err) {
		return err
	}
	if err = c.WriteTo(b, to); err == nil { // it was the mark
		c.marks.Store(false)
	}
	return err
}

// writeControl sends b with control messages: where to cut it, unless segment is zero, and the mark, unless there is
// none.
func (c *Conn) writeControl(b []byte, segment int, to netip.AddrPort, mark wire.ECN) error {
	oob := oobs.Get().(*[controlSize]byte)
	defer oobs.Put(oob)
	if !c.marks.Load() {
		mark = wire.NotECT
	}
	_, _, err := c.msgs.WriteMsgUDPAddrPort(b, appendControl(oob[:0], segment, mark, c.v6), to)
	return err
}

// TooLong says that a datagram was not sent because it is too long for the interface it would have left by.
func TooLong(err error) bool {
	var no syscall.Errno
	return errors.As(err, &no) && tooLong(no)
}

// refused says that the kernel may have refused what was asked of it besides sending.
func refused(err error) bool {
	var no syscall.Errno
	return errors.As(err, &no) && unable(no)
}
