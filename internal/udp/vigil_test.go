// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package udp

import (
	"net"
	"net/netip"
	"testing"
	"time"
)

// soonReady is a RawConn for which there is something to read after some looks, each of which takes a microsecond.
type soonReady struct {
	at           time.Time
	looks, after int
	waits        int // calls that waited
}

func (*soonReady) Control(func(uintptr)) error    { return nil }
func (*soonReady) Write(func(uintptr) bool) error { return nil }

func (r *soonReady) Read(f func(fd uintptr) bool) error {
	for !f(0) {
		r.waits++
	}
	return nil
}

func (r *soonReady) ready(uintptr) bool {
	r.looks++
	r.at = r.at.Add(time.Microsecond)
	return r.looks > r.after
}

// vigilOver returns a vigil whose time r makes.
func vigilOver(r *soonReady) *vigil {
	r.at = time.Unix(1, 0)
	v := &vigil{raw: r, ready: r.ready, now: func() time.Time { return r.at }}
	v.watch = v.keep
	return v
}

// turn is one read, of something that comes after some looks, in a conversation or not.
func turn(v *vigil, r *soonReady, after int, spoken bool) {
	r.looks, r.after, r.waits = 0, after, 0
	v.begin()
	v.spoken.Store(spoken)
	v.end()
}

const never = 1 << 30 // looks

// TestVigilPays: a vigil in vain is followed by none for as many waits as it costs, and who does not speak is never
// worth one.
func TestVigilPays(t *testing.T) {
	r := new(soonReady)
	v := vigilOver(r)
	for range 2 * vigilPrice {
		if turn(v, r, never, false); r.looks != 0 {
			t.Fatalf("%d looks while nobody speaks, want 0", r.looks)
		}
	}
	turn(v, r, never, true)
	v.credit = 1
	if turn(v, r, 3, true); r.looks != 4 {
		t.Fatalf("%d looks for what is there at the fourth, want 4", r.looks)
	}
	v.credit = 1
	if turn(v, r, never, true); r.looks == 0 || v.credit > 2-vigilPrice {
		t.Fatalf("a vigil in vain of %d looks left a credit of %d, want at most %d", r.looks, v.credit, 2-vigilPrice)
	}
	for range vigilPrice - 1 {
		if turn(v, r, never, true); r.looks != 0 {
			t.Fatalf("%d looks before the last vigil was paid for, want 0", r.looks)
		}
	}
	if turn(v, r, 3, true); r.looks != 4 {
		t.Fatalf("%d looks when it has been paid for, want 4", r.looks)
	}
	v.credit = maxVigil
	turn(v, r, 0, false)
	if turn(v, r, never, true); r.looks != 0 {
		t.Errorf("%d looks after something had come without a word from us, want 0", r.looks)
	}
}

// TestVigilLetsOthersBeLookedAt: the runtime looks at other sockets only when the reader waits.
func TestVigilLetsOthersBeLookedAt(t *testing.T) {
	r := new(soonReady)
	v := vigilOver(r)
	v.talks, v.credit = true, maxVigil
	if turn(v, r, 1, true); r.waits != 1 {
		t.Errorf("waited %d times in the first of many vigils, want once", r.waits)
	}
	v.polled = r.at
	if turn(v, r, 1, true); r.waits != 0 {
		t.Errorf("waited %d times though the runtime has looked lately, want 0", r.waits)
	}
	v.polled = time.Time{}
	if turn(v, r, 0, true); r.waits != 0 {
		t.Errorf("waited %d times for what was there already, whose coming may have been noted before; want 0", r.waits)
	}
}

// TestVigilMissesNothing has two sockets talk, with as many waits in vigils as can be.
func TestVigilMissesNothing(t *testing.T) {
	const turns = 1000
	a, b := listenLocal(t), listenLocal(t)
	go func() {
		buf := make([]byte, MaxBatch)
		for {
			r, err := b.ReadBatch(buf)
			if err != nil {
				return
			}
			awake(b)
			_ = b.WriteTo(buf[:r.N], r.From)
		}
	}()
	buf := make([]byte, MaxBatch)
	for i := range turns {
		awake(a)
		if err := a.WriteTo([]byte{byte(i)}, b.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		r, err := a.ReadBatch(buf)
		if err != nil || r.N != 1 || buf[0] != byte(i) {
			t.Fatalf("turn %d: read %x, %v; want %x", i, buf[:r.N], err, byte(i))
		}
	}
}

// awake has c's reader, which is the caller, keep a vigil whatever it has learnt.
func awake(c *Conn) {
	c.Expect()
	if v := c.vigil; v != nil {
		v.talks, v.credit, v.polled = true, maxVigil, time.Time{}
	}
}

func listenLocal(t *testing.T) *Conn {
	t.Helper()
	pc, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	c := New(pc)
	t.Cleanup(func() { _ = c.Close() })
	return c
}
