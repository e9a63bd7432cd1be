// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// A conn runs two muxes in goroutines, as a driver would, with a delay between them.
type conn struct {
	a, b *Mux
	wg   sync.WaitGroup
	stop context.CancelFunc
}

var errConnOver = errors.New("conn over")

// newConn starts both ends. It must be called in a bubble.
func newConn(t *testing.T, ca, cb Config) *conn {
	ctx, cancel := context.WithCancel(t.Context())
	c := &conn{stop: cancel}
	wakeA, wakeB := make(chan struct{}, 1), make(chan struct{}, 1)
	ca.Wake, cb.Wake = waker(wakeA), waker(wakeB)
	c.a, c.b = NewMux(&ca), NewMux(&cb)
	toA, toB := make(chan []byte, 1000), make(chan []byte, 1000)
	c.wg.Go(func() { drive(ctx, c.a, wakeA, toA, toB) })
	c.wg.Go(func() { drive(ctx, c.b, wakeB, toB, toA) })
	t.Cleanup(c.end)
	return c
}

func (c *conn) end() {
	c.stop()
	c.wg.Wait()
}

func waker(c chan struct{}) func() {
	return func() {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// drive is a driver in thirty lines.
func drive(ctx context.Context, m *Mux, wake chan struct{}, in, out chan []byte) {
	var pn, received uint64
	timer := time.NewTimer(0)
	for {
		for {
			b := m.Append(time.Now(), pn, nil, 1171)
			if len(b) == 0 {
				break
			}
			m.Sent(time.Now(), pn, len(b)+overhead, false)
			pn++
			time.AfterFunc(10*time.Millisecond, func() {
				select {
				case out <- b:
				default:
				}
			})
		}
		if at := m.NextTimeout(); !at.IsZero() {
			timer.Reset(time.Until(at))
		} else {
			timer.Reset(time.Hour)
		}
		select {
		case <-ctx.Done():
			m.Close(time.Now(), errConnOver)
			timer.Stop()
			return
		case <-wake:
		case <-timer.C:
			m.HandleTimeout(time.Now())
		case b := <-in:
			eliciting := false
			for len(b) > 0 {
				t, body, rest, _ := wire.NextChunk(b)
				eliciting = eliciting || t.AckEliciting()
				if t.IsAck() || t.IsFlow() {
					if err := m.HandleChunk(time.Now(), t, body); err != nil {
						panic(err)
					}
				}
				b = rest
			}
			// Packets are never reordered here, and the acknowledgement of a number that was lost does no harm.
			m.HandlePacketEnd(time.Now(), received, eliciting, wire.NotECT)
			received++
		}
	}
}

func TestSendBlocksUntilAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newConn(t, Config{}, Config{})
		defer c.end()
		f, _ := c.a.Open("", &Options{SendBuffer: -1})
		start := time.Now()
		for range 3 {
			if _, err := f.Send(t.Context(), []byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		// Two messages were acknowledged, after a round trip and the delay of a lone packet each.
		if d := time.Since(start); d < 40*time.Millisecond || d > 100*time.Millisecond {
			t.Errorf("three messages, one at a time, took %v, want two round trips of 20ms and some ack delay", d)
		}
		if err := f.Close(t.Context()); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
}

func TestSendBlocksUntilRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newConn(t, Config{}, Config{RecvWindow: wire.InitialFlowWindow})
		defer c.end()
		f, _ := c.a.Open("", &Options{SendBuffer: 10_000})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		n := 0
		for ; ; n++ {
			if _, err := f.Send(ctx, make([]byte, 1000)); err != nil {
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Send: %v, want the context's error", err)
				}
				break
			}
		}
		if n < 60 || n > 80 {
			t.Errorf("%d messages of 1000 bytes went into a window of 64 KiB and a buffer of 10000", n)
		}
		r, err := c.b.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		go func() {
			_, err := f.Send(t.Context(), []byte("last"))
			done <- err
		}()
		synctest.Wait()
		for range n {
			if _, err := r.Recv(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if err := <-done; err != nil {
			t.Errorf("Send after the reader came back: %v", err)
		}
		if msg, err := r.Recv(t.Context()); err != nil || string(msg.Data) != "last" {
			t.Errorf("Recv = %q, %v", msg.Data, err)
		}
	})
}

// TestEverythingUnblocks has goroutines blocked in every call when the session ends.
func TestEverythingUnblocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newConn(t, Config{}, Config{})
		f, _ := c.a.Open("", &Options{SendBuffer: 1, Returns: 1})
		big := make([]byte, 1<<20)
		receipt, err := f.Send(t.Context(), big)
		if err != nil {
			t.Fatal(err)
		}
		r, err := c.b.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Recv(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := receipt.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, _ = f.Send(t.Context(), big)
		var wg sync.WaitGroup
		for name, call := range map[string]func() error{
			"Send":         func() error { _, err := f.Send(t.Context(), big); return err },
			"Close":        func() error { return f.Close(t.Context()) },
			"AcceptReturn": func() error { _, err := f.AcceptReturn(t.Context()); return err },
			"Accept":       func() error { _, err := c.a.Accept(t.Context()); return err },
			"Recv":         func() error { _, _ = r.Recv(t.Context()); _, err := r.Recv(t.Context()); return err },
		} {
			wg.Go(func() {
				if err := call(); !errors.Is(err, errConnOver) && !errors.Is(err, ErrClosed) {
					t.Errorf("%s: %v, want the session's error", name, err)
				}
			})
		}
		time.Sleep(5 * time.Millisecond)
		c.end()
		wg.Wait()
	})
}

// TestConcurrentUse has many goroutines send on few flows, close and abort them, while others read.
func TestConcurrentUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newConn(t, Config{}, Config{RecvWindow: wire.InitialFlowWindow})
		const flows, senders, each = 10, 8, 50
		var wg sync.WaitGroup
		var mu sync.Mutex
		delivered := 0
		for i := range flows {
			f, err := c.a.Open("", &Options{SendBuffer: 20_000})
			if err != nil {
				t.Fatal(err)
			}
			var sending sync.WaitGroup
			for range senders {
				sending.Go(func() {
					for range each {
						receipt, err := f.Send(t.Context(), make([]byte, 500))
						if err != nil {
							if i%3 != 0 {
								t.Errorf("Send: %v", err)
							}
							return
						}
						wg.Go(func() {
							if receipt.Wait(t.Context()) == nil {
								mu.Lock()
								delivered++
								mu.Unlock()
							}
						})
					}
				})
			}
			wg.Go(func() {
				if i%3 == 0 {
					time.Sleep(50 * time.Millisecond)
					f.Abort(1)
				}
				sending.Wait()
				if err := f.Close(t.Context()); (err != nil) != (i%3 == 0) {
					t.Errorf("Close: %v", err)
				}
			})
			wg.Go(func() {
				r, err := c.b.Accept(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				for {
					if _, err := r.Recv(t.Context()); err != nil {
						if aborted := (*AbortedError)(nil); err != io.EOF && !errors.As(err, &aborted) {
							t.Errorf("Recv: %v", err)
						}
						return
					}
				}
			})
		}
		wg.Wait()
		if want := 6 * senders * each; delivered < want {
			t.Errorf("%d messages delivered, want at least %d", delivered, want)
		}
		c.end()
	})
}
