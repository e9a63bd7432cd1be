// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

var udp = &Transport{
	Name: "udp",
	About: "the least a protocol could do: datagrams of up to 1452 bytes, a system call for each, AES-128-GCM sealed and " +
		"opened in place, the sender at most 512 packets ahead, no repetition",
	MaxMessage: rawData,
	Raw:        true,
	Listen:     func(_ context.Context, env Env) (Listener, error) { return rawListen(env, 1) },
	NewDialer:  func(ctx context.Context, env Env) (Dialer, error) { return rawNewDialer(ctx, env, 1) },
}

var udpGSO = &Transport{
	Name:       "udp-gso",
	About:      "the same with up to 45 packets of one size in a system call (UDP GSO and GRO)",
	MaxMessage: rawData,
	Raw:        true,
	Listen:     func(_ context.Context, env Env) (Listener, error) { return rawListen(env, rawBatch) },
	NewDialer:  func(ctx context.Context, env Env) (Dialer, error) { return rawNewDialer(ctx, env, rawBatch) },
}

const (
	rawPacket = 1452
	rawHeader = 8 // packet number
	rawData   = rawPacket - rawHeader - 16
	rawBatch  = 45 // 64 KiB of packets
	rawWindow = 512
	rawCredit = 64 // packets between two acknowledgements
	rawStall  = 50 * time.Millisecond
)

type rawListener struct {
	c     *net.UDPConn
	batch int
}

func rawSocket(env Env) (*net.UDPConn, error) {
	c, err := udpSocket(env.Local)
	if err != nil {
		return nil, err
	}
	_ = c.SetReadBuffer(4 << 20) // advice; the system has limits
	_ = c.SetWriteBuffer(4 << 20)
	return c, nil
}

// receiveBatches turns on GRO.
func receiveBatches(c *net.UDPConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	if e := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_GRO, 1)
	}); e != nil {
		return e
	}
	return err
}

func rawListen(env Env, batch int) (Listener, error) {
	c, err := rawSocket(env)
	if err != nil {
		return nil, err
	}
	return rawListener{c, batch}, env.Signal.Send([]byte(c.LocalAddr().String()))
}

func (l rawListener) Accept(context.Context) (Conn, error) {
	return &rawConn{c: l.c, batch: l.batch}, nil
}
func (l rawListener) Close() error { return l.c.Close() }

type rawDialer struct {
	env   Env
	to    *net.UDPAddr
	batch int
}

func rawNewDialer(ctx context.Context, env Env, batch int) (Dialer, error) {
	b, err := env.Signal.Recv(ctx)
	if err != nil {
		return nil, err
	}
	to, err := net.ResolveUDPAddr("udp4", string(b))
	return rawDialer{env, to, batch}, err
}

func (d rawDialer) Dial(context.Context) (Conn, error) {
	c, err := rawSocket(d.env)
	if err != nil {
		return nil, err
	}
	return &rawConn{c: c, batch: d.batch, to: d.to}, nil
}

func (d rawDialer) Close() error { return nil }

type rawConn struct {
	c     *net.UDPConn
	batch int
	to    *net.UDPAddr
}

func (c *rawConn) Open(_ context.Context, k Kind) (Channel, error) {
	if err := connect(c.c, c.to); err != nil {
		return nil, err
	}
	if err := hello(c.c, k); err != nil {
		return nil, err
	}
	return newRawChannel(c.c, c.to, k, c.batch)
}

func (c *rawConn) Accept(_ context.Context, k Kind) (Channel, error) {
	var b [1]byte
	_, from, err := c.c.ReadFromUDP(b[:])
	if err != nil {
		return nil, err
	}
	if Kind(b[0]) != k {
		return nil, errors.New("transport: unexpected kind of channel")
	}
	if err := connect(c.c, from); err != nil {
		return nil, err
	}
	return newRawChannel(c.c, from, k, c.batch)
}

func (c *rawConn) Close() error { return c.c.Close() }

// connect makes a socket send to one address, which saves the kernel a look-up for each packet.
func connect(c *net.UDPConn, to *net.UDPAddr) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	sa := &unix.SockaddrInet4{Port: to.Port, Addr: [4]byte(to.IP.To4())}
	if e := raw.Control(func(fd uintptr) { err = unix.Connect(int(fd), sa) }); e != nil {
		return e
	}
	return err
}

// A rawChannel sends packets of a number and sealed data. The receiver says from time to time what has come.
type rawChannel struct {
	c      *net.UDPConn
	raw    rawReadWriter
	kind   Kind
	batch  int
	seal   cipher.AEAD
	nonce  [12]byte
	number uint64 // of the next packet to send
	acked  uint64
	out    []byte // packets to be sent together
	size   int    // of each packet in out
	queued int

	in       []byte // what was received together
	segment  int
	received uint64
	told     uint64
}

func newRawChannel(c *net.UDPConn, to *net.UDPAddr, k Kind, batch int) (*rawChannel, error) {
	block, err := aes.NewCipher(make([]byte, 16))
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	ch := &rawChannel{c: c, kind: k, batch: batch, seal: aead}
	if batch > 1 {
		if err := receiveBatches(c); err != nil {
			return nil, err
		}
	}
	ch.raw = rawReadWriter{c: c, to: to.AddrPort(), oob: make([]byte, 64), buf: make([]byte, 1<<16)}
	return ch, nil
}

// Send seals b into packets. For messages, which fit into one, each has its own.
func (r *rawChannel) Send(b []byte) error {
	for len(b) > 0 {
		n := min(len(b), rawData)
		if err := r.packet(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	if r.kind == Ping {
		return r.Flush()
	}
	return nil
}

func (r *rawChannel) packet(b []byte) error {
	size := rawHeader + len(b) + 16
	if r.queued > 0 && size > r.size {
		if err := r.Flush(); err != nil {
			return err
		}
	}
	if r.queued == 0 {
		r.size = size
	}
	start := len(r.out)
	r.out = binary.BigEndian.AppendUint64(r.out, r.number)
	r.out = append(r.out, b...)
	binary.BigEndian.PutUint64(r.nonce[4:], r.number)
	data := r.out[start+rawHeader:]
	r.out = r.seal.Seal(r.out[:start+rawHeader], r.nonce[:], data, r.out[start:start+rawHeader])
	r.number++
	r.queued++
	if r.queued == r.batch || size < r.size {
		return r.Flush()
	}
	return nil
}

func (r *rawChannel) Flush() error {
	if r.queued == 0 {
		return nil
	}
	err := r.raw.write(r.out, r.size, r.queued)
	r.out, r.queued = r.out[:0], 0
	if err != nil {
		return err
	}
	for r.kind != Ping && r.number-r.acked >= rawWindow {
		var b [8]byte
		_ = r.c.SetReadDeadline(time.Now().Add(rawStall))
		n, err := r.c.Read(b[:])
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			r.acked = r.number // the rest was lost
		case err != nil:
			return err
		case n == len(b):
			r.acked = max(r.acked, binary.BigEndian.Uint64(b[:]))
		}
	}
	return nil
}

func (r *rawChannel) Recv([]byte) ([]byte, error) {
	for len(r.in) == 0 {
		var err error
		if r.in, r.segment, err = r.raw.read(); err != nil {
			return nil, err
		}
	}
	p := r.in[:min(r.segment, len(r.in))]
	r.in = r.in[len(p):]
	if len(p) < rawHeader {
		return nil, errors.New("transport: a packet without a number")
	}
	number := binary.BigEndian.Uint64(p)
	binary.BigEndian.PutUint64(r.nonce[4:], number)
	b, err := r.seal.Open(p[rawHeader:rawHeader], r.nonce[:], p[rawHeader:], p[:rawHeader])
	if err != nil {
		return nil, err
	}
	r.received = number + 1
	if r.kind != Ping && r.received-r.told >= rawCredit {
		r.told = r.received
		var ack [8]byte
		binary.BigEndian.PutUint64(ack[:], r.received)
		if _, err := r.c.Write(ack[:]); err != nil {
			return nil, err
		}
	}
	return b, nil
}
