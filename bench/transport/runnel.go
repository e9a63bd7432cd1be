// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"slices"

	"github.com/seed-98f0d4c2/runnel/flow"
	"github.com/seed-98f0d4c2/runnel/peer"
)

var runnel = runnelWith("runnel", "sessions dialled at a known address; a flow for each channel, defaults everywhere; "+
	"bulk at priority Bulk, a message for each write, voice at Immediate, in order of arrival, "+
	"given up after 150 ms; where others have a buffer, one before a Stream", nil)

// Variants, to see what the controller does.
var (
	runnelCUBIC = variant(runnelWith("runnel-cubic", "with flow.NewCUBIC as its controller", flow.NewCUBIC))
	runnelReno  = variant(runnelWith("runnel-newreno", "with flow.NewReno as its controller", flow.NewReno))
)

func variant(t *Transport) *Transport {
	t.Variant = "runnel"
	return t
}

// runnelWith returns Runnel with a controller, nil being the default.
func runnelWith(name, about string, controller func(maxPacket int) flow.Controller) *Transport {
	return &Transport{
		Name: name, About: about, Module: Ours,
		Idle: true, Stream: true,
		Listen: func(ctx context.Context, env Env) (Listener, error) {
			ep, err := runnelEndpoint(ctx, env, controller)
			if err != nil {
				return nil, err
			}
			b, err := json.Marshal(runnelHello{ep.ID(), ep.LocalAddrs()})
			if err != nil {
				return nil, err
			}
			return runnelListener{ep}, env.Signal.Send(b)
		},
		NewDialer: func(ctx context.Context, env Env) (Dialer, error) {
			b, err := env.Signal.Recv(ctx)
			if err != nil {
				return nil, err
			}
			var to runnelHello
			if err := json.Unmarshal(b, &to); err != nil {
				return nil, err
			}
			return &runnelDialer{env, controller, peer.Target{ID: to.ID, Addrs: to.Addrs}}, nil
		},
	}
}

type runnelHello struct {
	ID    peer.ID
	Addrs []netip.AddrPort
}

func runnelEndpoint(ctx context.Context, env Env, controller func(int) flow.Controller) (*peer.Endpoint, error) {
	cfg := &peer.Config{
		ListenAddr: netip.AddrPortFrom(env.Local, 0),
		Loopback:   env.Local.IsLoopback(),
		Backlog:    4096,
		Controller: controller,
	}
	if env.EventLog != "" {
		cfg.EventLog = peer.EventLogDir(env.EventLog)
	}
	return peer.Listen(ctx, cfg)
}

type runnelListener struct{ ep *peer.Endpoint }

func (l runnelListener) Accept(ctx context.Context) (Conn, error) {
	s, err := l.ep.Accept(ctx)
	if err != nil {
		return nil, err
	}
	return &runnelConn{s: s}, nil
}

func (l runnelListener) Close() error { return closeRunnel(l.ep) }

// A runnelDialer has an endpoint for each connection, since two endpoints have but one session.
type runnelDialer struct {
	env        Env
	controller func(int) flow.Controller
	to         peer.Target
}

func (d *runnelDialer) Dial(ctx context.Context) (Conn, error) {
	ep, err := runnelEndpoint(ctx, d.env, d.controller)
	if err != nil {
		return nil, err
	}
	s, err := ep.DialTarget(ctx, d.to)
	if err != nil {
		return nil, errors.Join(err, closeRunnel(ep))
	}
	return &runnelConn{s: s, ep: ep}, nil
}

func (d *runnelDialer) Close() error { return nil }

func closeRunnel(ep *peer.Endpoint) error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	return ep.Close(ctx)
}

type runnelConn struct {
	s  *peer.Session
	ep *peer.Endpoint // if it is this session's alone

	early []*flow.Receiver // accepted before their turn: what is urgent overtakes what is not
}

func (c *runnelConn) Open(_ context.Context, k Kind) (Channel, error) {
	if k == Buffered {
		st, err := c.s.OpenStream(k.String())
		if err != nil {
			return nil, err
		}
		return newStreamChannel(st, k), nil
	}
	out, err := c.s.OpenFlow(k.String(), runnelFlowOptions(k))
	if err != nil {
		return nil, err
	}
	out.Announce()
	return &runnelChannel{kind: k, out: out}, nil
}

func (c *runnelConn) Accept(ctx context.Context, k Kind) (Channel, error) {
	if k == Buffered {
		st, err := c.s.AcceptStream(ctx)
		if err != nil {
			return nil, err
		}
		return newStreamChannel(st, k), nil
	}
	in, err := c.take(ctx, k.String())
	if err != nil {
		return nil, err
	}
	ch := &runnelChannel{kind: k, in: in}
	if k == Ping {
		o := runnelFlowOptions(k)
		o.Returns, o.Answers = 0, in
		if ch.out, err = c.s.OpenFlow(k.String(), o); err != nil {
			return nil, err
		}
		ch.out.Announce()
	}
	return ch, nil
}

func (c *runnelConn) take(ctx context.Context, label string) (*flow.Receiver, error) {
	for i, in := range c.early {
		if in.Label() == label {
			c.early = slices.Delete(c.early, i, i+1)
			return in, nil
		}
	}
	for {
		in, err := c.s.AcceptFlow(ctx)
		if err != nil || in.Label() == label {
			return in, err
		}
		c.early = append(c.early, in)
	}
}

// Counts makes a runnelConn a Counter.
func (c *runnelConn) Counts() map[string]float64 {
	st := c.s.Stats()
	return map[string]float64{
		"packets sent": float64(st.PacketsSent), "packets lost": float64(st.Flow.PacketsLost),
		"bytes sent": float64(st.BytesSent), "rtt ms": st.RTT.Seconds() * 1e3, "window": float64(st.Flow.CongestionWindow),
		"blocked by credit": float64(st.Flow.Blocked),
	}
}

func (c *runnelConn) Close() error {
	if c.ep != nil {
		return closeRunnel(c.ep)
	}
	return nil
}

type runnelChannel struct {
	kind Kind
	out  *flow.Sender
	in   *flow.Receiver
	last flow.Message // what Recv returned
}

func (c *runnelChannel) Send(b []byte) error { return runnelSend(c.out, c.kind, b) }

func (c *runnelChannel) Flush() error { return nil }

func (c *runnelChannel) Recv([]byte) ([]byte, error) {
	if c.in == nil {
		in, err := c.out.AcceptReturn(context.Background())
		if err != nil {
			return nil, err
		}
		c.in = in
	}
	c.last.Release()
	var err error
	c.last, err = c.in.Recv(context.Background())
	return c.last.Data, err
}
