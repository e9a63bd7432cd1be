// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"

	"github.com/pion/webrtc/v4"
)

var webRTC = &Transport{
	Name: "webrtc",
	Idle: true, Serial: true,
	About: "pion data channels, detached, ordered and reliable, messages of up to 4 MiB allowed, 1 MiB of buffered amount as " +
		"in pion's flow control example; voice on an unordered channel with a lifetime of 150 ms",
	Module: "github.com/pion/webrtc/v4",
	Listen: func(_ context.Context, env Env) (Listener, error) { return webrtcListener{env}, nil },
	NewDialer: func(_ context.Context, env Env) (Dialer, error) {
		return webrtcDialer{env}, nil
	},
}

const (
	webrtcMaxMessage = 4 << 20
	webrtcBuffered   = 1 << 20
)

func webrtcPeer(env Env) (*webrtc.PeerConnection, error) {
	var se webrtc.SettingEngine
	se.DetachDataChannels()
	se.SetIncludeLoopbackCandidate(env.Local.IsLoopback())
	se.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	se.SetIPFilter(func(ip net.IP) bool { return ip.String() == env.Local.String() })
	se.SetSCTPMaxMessageSize(webrtcMaxMessage)
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
			if ch, err := newWebRTCChannel(dc); err == nil {
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
		ch, err := newWebRTCChannel(dc)
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

// A webrtcChannel is a detached data channel with back-pressure: writes to it never block.
type webrtcChannel struct {
	dc   *webrtc.DataChannel
	rw   io.ReadWriteCloser
	room chan struct{}
	big  []byte
}

func newWebRTCChannel(dc *webrtc.DataChannel) (*webrtcChannel, error) {
	rw, err := dc.Detach()
	if err != nil {
		return nil, err
	}
	c := &webrtcChannel{dc: dc, rw: rw, room: make(chan struct{}, 1)}
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
	if _, err := c.rw.Write(b); err != nil {
		return err
	}
	for c.dc.BufferedAmount() > webrtcBuffered {
		<-c.room
	}
	return nil
}

func (c *webrtcChannel) Flush() error { return nil }

// Recv reads into memory of its own: a message that does not fit would be lost.
func (c *webrtcChannel) Recv([]byte) ([]byte, error) {
	if c.big == nil {
		c.big = make([]byte, webrtcMaxMessage)
	}
	n, err := c.rw.Read(c.big)
	return c.big[:n], err
}
