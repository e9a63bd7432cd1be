// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package udp

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// cut returns the datagrams that b is to be sent as.
func cut(b []byte, segment int) (out [][]byte) {
	for len(b) > 0 {
		n := min(segment, len(b))
		out = append(out, b[:n])
		b = b[n:]
	}
	return out
}

func TestWriteBatch(t *testing.T) {
	for _, tt := range []struct {
		name           string
		total, segment int
		want           int // datagrams
	}{
		{"one", 700, 700, 1},
		{"one shorter than a segment", 700, 1200, 1},
		{"one, no segment given", 700, 0, 1},
		{"exact multiple", 12000, 1200, 10},
		{"last shorter", 12001, 1200, 11},
		{"as many as one call takes", 64 * 300, 300, 64},
		{"more than one call takes", 200*300 + 7, 300, 201},
		{"more bytes than one call takes", 9*8952 + 100, 8952, 10},
		{"small ones", 64 * 2, 2, 64},
	} {
		for _, network := range []string{"udp4", "udp6"} {
			for _, offload := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s/network=%s/offload=%v", tt.name, network, offload), func(t *testing.T) {
					a, b := New(listen(t, network)), New(listen(t, network))
					if !offload {
						a.segments.Store(false)
					}
					msg := make([]byte, tt.total)
					rand.NewChaCha8([32]byte{1}).Read(msg)
					segment := tt.segment
					if segment == 0 {
						segment = tt.total
					}
					sent, err := a.WriteBatch(msg, tt.segment, b.LocalAddr(), wire.NotECT)
					if sent != tt.want || err != nil {
						t.Fatalf("WriteBatch = %d, %v; want %d", sent, err, tt.want)
					}
					want := cut(msg, segment)
					buf := make([]byte, MaxBatch)
					for i := 0; i < len(want); {
						r, err := b.ReadBatch(buf)
						if err != nil || r.From != a.LocalAddr() {
							t.Fatalf("ReadBatch = %+v, %v; want datagrams from %v", r, err, a.LocalAddr())
						}
						for _, got := range cut(buf[:r.N], r.Segment) {
							if !bytes.Equal(got, want[i]) {
								t.Fatalf("datagram %d has %d bytes and differs from the %d sent", i, len(got), len(want[i]))
							}
							i++
						}
					}
				})
			}
		}
	}
}

// TestWriteBatchMixed sends trains of different sizes one behind the other; nothing may be taken for a part of what
// came before.
func TestWriteBatchMixed(t *testing.T) {
	a, b := New(listen(t, "udp4")), New(listen(t, "udp4"))
	buf := make([]byte, MaxBatch)
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range 50 {
		var want [][]byte
		for range 1 + rng.IntN(4) {
			msg := make([]byte, 1+rng.IntN(20000))
			for i := range msg {
				msg[i] = byte(rng.Uint32())
			}
			segment := 500 + rng.IntN(1000)
			if _, err := a.WriteBatch(msg, segment, b.LocalAddr(), wire.NotECT); err != nil {
				t.Fatal(err)
			}
			want = append(want, cut(msg, segment)...)
		}
		for len(want) > 0 {
			r, err := b.ReadBatch(buf)
			if err != nil {
				t.Fatal(err)
			}
			for _, got := range cut(buf[:r.N], r.Segment) {
				if !bytes.Equal(got, want[0]) {
					t.Fatalf("round %d: got %d bytes, which are not the %d sent", round, len(got), len(want[0]))
				}
				want = want[1:]
			}
		}
	}
}

func TestEmptyDatagram(t *testing.T) {
	a, b := New(listen(t, "udp4")), New(listen(t, "udp4"))
	if n, err := a.WriteBatch(nil, 1200, b.LocalAddr(), wire.NotECT); n != 1 || err != nil {
		t.Fatalf("WriteBatch = %d, %v; want 1", n, err)
	}
	if r, err := b.ReadBatch(make([]byte, MaxBatch)); r.N != 0 || err != nil {
		t.Errorf("ReadBatch = %+v, %v; want an empty datagram", r, err)
	}
}

func TestTooLong(t *testing.T) {
	a, b := New(listen(t, "udp4")), New(listen(t, "udp4"))
	err := a.WriteTo(make([]byte, 65508), b.LocalAddr())
	if !TooLong(err) || !Temporary(err) {
		t.Errorf("WriteTo 65508 bytes = %v, want one that is TooLong and Temporary", err)
	}
	if n, err := a.WriteBatch(make([]byte, 65508), 65508, b.LocalAddr(), wire.NotECT); n != 0 || !TooLong(err) {
		t.Errorf("WriteBatch of one datagram of 65508 bytes = %d, %v; want TooLong", n, err)
	}
	if TooLong(nil) || TooLong(net.ErrClosed) {
		t.Error("TooLong says yes to what has nothing to do with it")
	}
}

func TestMaxPayload(t *testing.T) {
	system, virtual := New(listen(t, "udp4")), New(slowConn{listen(t, "udp4")})
	for _, tt := range []struct {
		c    *Conn
		to   string
		want int
	}{
		{system, "127.0.0.1", MaxDatagram},
		{system, "::ffff:127.0.0.1", MaxDatagram},
		{virtual, "127.0.0.1", 1472},
		{virtual, "2001:db8::1", 1452},
	} {
		if got := tt.c.MaxPayload(netip.MustParseAddr(tt.to)); got != tt.want {
			t.Errorf("MaxPayload(%s) = %d, want %d", tt.to, got, tt.want)
		}
	}
	if got := system.MaxPayload(netip.MustParseAddr("192.0.2.1")); got < 1200 || got > MaxDatagram {
		t.Errorf("MaxPayload of an address elsewhere = %d, want 1200 to %d", got, MaxDatagram)
	}
}
