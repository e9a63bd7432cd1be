// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/pion/webrtc/v4"
)

var webRTC = &Transport{
	Name: "webrtc",
	Idle: true, Serial: true,
	About: "pion data channels, detached, ordered and reliable, settings as they are, on a socket with buffers of 4 MiB; 1 MiB of buffered amount as in pion's " +
		"flow control example; messages of 1 MiB in parts, since no more than 64 KiB is allowed; voice on an unordered " +
		"channel with a lifetime of 150 ms",
	Module: "github.com/pion/webrtc/v4",
	Listen: func(_ context.Context, env Env) (Listener, error) { return webrtcListener{env}, nil },
	NewDialer: func(_ context.Context, env Env) (Dialer, error) {
		return webrtcDialer{env}, nil
	},
}

const (
	webrtcMaxMessage = 64 << 10
	webrtcPart       = 60 << 10 // of a larger message
	webrtcBuffered   = 1 << 20

	webrtcSocketBuffer = 4 << 20
)

func webrtcPeer(env Env) (*webrtc.PeerConnection, error) {
	var se webrtc.SettingEngine
	se.DetachDataChannels()
	se.SetIncludeLoopbackCandidate(env.Local.IsLoopback())
	se.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	se.SetIPFilter(func(ip net.IP) bool { return ip.String() == env.Local.String() })
	// The sockets that pion opens have the system's small buffers, which overflow on loopback.
	sock, err := udpSocket(env.Local)
	if err != nil {
		return nil, err
	}
	_ = sock.SetReadBuffer(webrtcSocketBuffer) // advice; the system has limits
	_ = sock.SetWriteBuffer(webrtcSocketBuffer)
	se.SetICEUDPMux(webrtc.NewICEUDPMux(nil, sock))
	return webrtc.NewAPI(webrtc.WithSettingEngine(se)).NewPeerConnection(webrtc.Configuration{})
}

// describe waits for the local candidates, of which there is one, and sends what the other side needs to know.
func describe(pc *webrtc.PeerConnection, env Env, sd webrtc.SessionDescription) error {
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(sd); err != nil {
		return err
	}
	<-gathered
	b, err := json.Marshal(pc.LocalDescription())
	if err != nil {
		return err
	}
	return env.Signal.Send(b)
}

func described(ctx context.Context, pc *webrtc.PeerConnection, env Env) error {
	b, err := env.Signal.Recv(ctx)
	if err != nil {
		return err
	}
	var sd webrtc.SessionDescription
	if err := json.Unmarshal(b, &sd); err != nil {
		return err
	}
	return pc.SetRemoteDescription(sd)
}

type webrtcListener struct{ env Env }

func (l webrtcListener) Accept(ctx context.Context) (Conn, error) {
	pc, err := webrtcPeer(l.env)
	if err != nil {
		return nil, err
	}
	c := &webrtcConn{pc: pc, incoming: map[string]chan *webrtcChannel{"": make(chan *webrtcChannel, 1)}}
	for k := Bulk; k < kinds; k++ {
		c.incoming[k.String()] = make(chan *webrtcChannel, 1)
	}
	pc.OnDataChannel(func(dc *webrtc.DataChannel) {
		dc.OnOpen(func() {
			if ch, err := newWebRTCChannel(dc, dc.Label() == Messages.String()); err == nil {
				c.incoming[dc.Label()] <- ch
			}
		})
	})
	if err := described(ctx, pc, l.env); err != nil {
		return nil, err
	}
	answer, err := pc.CreateAnswer(nil)
	if err != nil {
		return nil, err
	}
	if err := describe(pc, l.env, answer); err != nil {
		return nil, err
	}
	_, err = c.take(ctx, "")
	return c, err
}

func (l webrtcListener) Close() error { return nil }

type webrtcDialer struct{ env Env }

func (d webrtcDialer) Dial(ctx context.Context) (Conn, error) {
	pc, err := webrtcPeer(d.env)
	if err != nil {
		return nil, err
	}
	c := &webrtcConn{pc: pc}
	// Without a channel there would be nothing to offer.
	first, err := pc.CreateDataChannel("", nil)
	if err != nil {
		return nil, err
	}
	open := opened(first)
	offer, err := pc.CreateOffer(nil)
	if err != nil {
		return nil, err
	}
	if err := describe(pc, d.env, offer); err != nil {
		return nil, err
	}
	if err := described(ctx, pc, d.env); err != nil {
		return nil, err
	}
	_, err = open.wait(ctx)
	return c, err
}

func (d webrtcDialer) Close() error { return nil }

type webrtcConn struct {
	pc       *webrtc.PeerConnection
	incoming map[string]chan *webrtcChannel
}

func (c *webrtcConn) Open(ctx context.Context, k Kind) (Channel, error) {
	init := &webrtc.DataChannelInit{}
	if k == Voice {
		ordered, life := false, uint16(VoiceLife)
		init.Ordered, init.MaxPacketLifeTime = &ordered, &life
	}
	dc, err := c.pc.CreateDataChannel(k.String(), init)
	if err != nil {
		return nil, err
	}
	return opened(dc).wait(ctx)
}

func (c *webrtcConn) Accept(ctx context.Context, k Kind) (Channel, error) {
	return c.take(ctx, k.String())
}

func (c *webrtcConn) take(ctx context.Context, label string) (Channel, error) {
	select {
	case ch := <-c.incoming[label]:
		return ch, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("transport: waiting for data channel %q: %w", label, ctx.Err())
	}
}

func (c *webrtcConn) Close() error { return c.pc.Close() }

// An opening is a channel that was created here and is not open yet.
type opening chan openResult

type openResult struct {
	ch  *webrtcChannel
	err error
}

func opened(dc *webrtc.DataChannel) opening {
	o := make(opening, 1)
	dc.OnOpen(func() {
		ch, err := newWebRTCChannel(dc, dc.Label() == Messages.String())
		o <- openResult{ch, err}
	})
	return o
}

func (o opening) wait(ctx context.Context) (Channel, error) {
	select {
	case r := <-o:
		return r.ch, r.err
	case <-ctx.Done():
		return nil, fmt.Errorf("transport: opening a data channel: %w", ctx.Err())
	}
}

// A webrtcChannel is a detached data channel with back-pressure: writes to it never block. For Messages, a byte in front
// of each part says whether there are more.
type webrtcChannel struct {
	dc    *webrtc.DataChannel
	rw    io.ReadWriteCloser
	room  chan struct{}
	parts bool
	out   []byte
	in    []byte
}

func newWebRTCChannel(dc *webrtc.DataChannel, parts bool) (*webrtcChannel, error) {
	rw, err := dc.Detach()
	if err != nil {
		return nil, err
	}
	c := &webrtcChannel{dc: dc, rw: rw, parts: parts, room: make(chan struct{}, 1)}
	dc.SetBufferedAmountLowThreshold(webrtcBuffered / 2)
	dc.OnBufferedAmountLow(func() {
		select {
		case c.room <- struct{}{}:
		default:
		}
	})
	return c, nil
}

func (c *webrtcChannel) Send(b []byte) error {
	if !c.parts {
		return c.write(b)
	}
	for {
		n := min(len(b), webrtcPart)
		more := byte(0)
		if n < len(b) {
			more = 1
		}
		c.out = append(append(c.out[:0], more), b[:n]...)
		if err := c.write(c.out); err != nil || more == 0 {
			return err
		}
		b = b[n:]
	}
}

func (c *webrtcChannel) write(b []byte) error {
	if _, err := c.rw.Write(b); err != nil {
		return err
	}
	for c.dc.BufferedAmount() > webrtcBuffered {
		<-c.room
	}
	return nil
}

func (c *webrtcChannel) Flush() error { return nil }

// Recv reads into memory of its own: what does not fit would be lost.
func (c *webrtcChannel) Recv(buf []byte) ([]byte, error) {
	if c.in == nil {
		c.in = make([]byte, webrtcMaxMessage)
	}
	whole := buf[:0]
	for {
		n, err := c.rw.Read(c.in)
		if err != nil || !c.parts {
			return c.in[:n], err
		}
		if n == 0 {
			return nil, errors.New("transport: a part without its first byte")
		}
		if c.in[0] == 0 && len(whole) == 0 {
			return c.in[1:n], nil
		}
		whole = append(whole, c.in[1:n]...)
		if c.in[0] == 0 {
			return whole, nil
		}
	}
}
