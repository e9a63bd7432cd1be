// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"bytes"
	"context"
	"net/netip"
	"testing"
	"time"
)

// A wire is one direction of a Signal in memory.
type wire chan []byte

type memorySignal struct{ in, out wire }

func (m memorySignal) Send(b []byte) error { m.out <- b; return nil }

func (m memorySignal) Recv(ctx context.Context) ([]byte, error) {
	select {
	case b := <-m.in:
		return b, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// TestTransports sends a message through each kind of channel of each transport, over the loopback of this machine.
func TestTransports(t *testing.T) {
	for _, tr := range All() {
		t.Run(tr.Name, func(t *testing.T) {
			for k := Bulk; k < kinds; k++ {
				if tr.Raw && k == Voice || k == Buffered && !tr.Stream {
					continue
				}
				t.Run(k.String(), func(t *testing.T) { testChannel(t, tr, k) })
			}
		})
	}
}

func testChannel(t *testing.T, tr *Transport, k Kind) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	a, b := make(wire, 16), make(wire, 16)
	local := netip.MustParseAddr("127.0.0.1")
	want := bytes.Repeat([]byte("runnel"), 30)
	if (k == Messages || k == Buffered) && tr.MaxMessage == 0 {
		want = bytes.Repeat(want, 2000) // larger than any buffer or part
	}

	failed := make(chan error, 1)
	got := make(chan []byte, 1)
	closing := make(chan struct{})
	go func() {
		failed <- func() error {
			l, err := tr.Listen(ctx, Env{Local: local, Signal: memorySignal{a, b}})
			if err != nil {
				return err
			}
			defer l.Close()
			c, err := l.Accept(ctx)
			if err != nil {
				return err
			}
			defer c.Close()
			ch, err := c.Accept(ctx, k)
			if err != nil {
				return err
			}
			var all []byte
			for buf := make([]byte, 1<<16); len(all) < len(want); {
				m, err := ch.Recv(buf)
				if err != nil {
					return err
				}
				all = append(all, m...)
			}
			if k == Ping {
				if err := ch.Send(all); err != nil {
					return err
				}
				if err := ch.Flush(); err != nil {
					return err
				}
			}
			got <- all
			<-closing
			return nil
		}()
	}()

	d, err := tr.NewDialer(ctx, Env{Local: local, Signal: memorySignal{b, a}})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	c, err := d.Dial(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ch, err := c.Open(ctx, k)
	if err != nil {
		t.Fatal(err)
	}
	if err := ch.Send(want); err != nil {
		t.Fatal(err)
	}
	if err := ch.Flush(); err != nil {
		t.Fatal(err)
	}
	if k == Ping {
		back, err := ch.Recv(make([]byte, 1<<16))
		if err != nil || !bytes.Equal(back, want) {
			t.Errorf("%d bytes came back (%v), want the %d that were sent", len(back), err, len(want))
		}
	}
	select {
	case all := <-got:
		if !bytes.Equal(all, want) {
			t.Errorf("%q arrived, want %q", all, want)
		}
		close(closing)
		if err := <-failed; err != nil {
			t.Error(err)
		}
	case err := <-failed:
		t.Fatalf("the listener failed: %v", err)
	}
}

func TestFind(t *testing.T) {
	for _, tr := range All() {
		if found, ok := Find(tr.Name); !ok || found != tr {
			t.Errorf("Find(%q) does not find it", tr.Name)
		}
	}
	if _, ok := Find("smoke"); ok {
		t.Error("found a transport that there is not")
	}
}
