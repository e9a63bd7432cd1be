// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/nettest"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// A streamConn makes a net.Conn of a Stream.
type streamConn struct{ *Stream }

func (streamConn) LocalAddr() net.Addr  { return &net.UnixAddr{Name: "a", Net: "flow"} }
func (streamConn) RemoteAddr() net.Addr { return &net.UnixAddr{Name: "b", Net: "flow"} }

// A timedPacket goes from one driver in real time to another.
type timedPacket struct {
	pn   uint64
	data []byte
}

// driveNow drives a mux in real time over a network that takes none and drops what it has no room for.
func driveNow(ctx context.Context, m *Mux, wake chan struct{}, in <-chan timedPacket, out chan<- timedPacket) error {
	var pn uint64
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	defer m.Close(time.Now(), errConnOver)
	for {
		for {
			b := m.Append(time.Now(), pn, nil, 1171)
			if len(b) == 0 {
				break
			}
			m.Sent(time.Now(), pn, len(b)+overhead, false)
			select {
			case out <- timedPacket{pn, b}:
			default:
			}
			pn++
		}
		wait := time.Hour
		if at := m.NextTimeout(); !at.IsZero() {
			wait = time.Until(at)
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return nil
		case <-wake:
		case <-timer.C:
			m.HandleTimeout(time.Now())
		case p := <-in:
			eliciting := false
			for b := p.data; len(b) > 0; {
				t, body, rest, err := wire.NextChunk(b)
				eliciting = eliciting || t.AckEliciting()
				if err == nil && (t.IsAck() || t.IsFlow()) {
					err = m.HandleChunk(time.Now(), t, body)
				}
				if err != nil {
					return err
				}
				b = rest
			}
			m.HandlePacketEnd(time.Now(), p.pn, eliciting, wire.NotECT)
		}
	}
}

// TestNetConn runs the conformance tests for net.Conn on streams.
func TestNetConn(t *testing.T) {
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		end := func() { cancel(); wg.Wait() }
		wakeA, wakeB := make(chan struct{}, 1), make(chan struct{}, 1)
		a, b := NewMux(&Config{Wake: waker(wakeA)}), NewMux(&Config{Wake: waker(wakeB)})
		toA, toB := make(chan timedPacket, 4096), make(chan timedPacket, 4096)
		for _, side := range []struct {
			m       *Mux
			wake    chan struct{}
			in, out chan timedPacket
		}{{a, wakeA, toA, toB}, {b, wakeB, toB, toA}} {
			wg.Go(func() {
				if err := driveNow(ctx, side.m, side.wake, side.in, side.out); err != nil {
					t.Errorf("driver: %v", err)
				}
			})
		}
		s, err := a.Open("stream", &Options{Stream: true, Returns: 1})
		if err != nil {
			return nil, nil, end, err
		}
		s.Announce()
		r, err := b.Accept(ctx)
		if err != nil {
			return nil, nil, end, err
		}
		back, err := b.Open("", &Options{Stream: true, Answers: r})
		if err != nil {
			return nil, nil, end, err
		}
		return streamConn{NewStream(s, nil)}, streamConn{NewStream(back, r)}, end, nil
	})
}
