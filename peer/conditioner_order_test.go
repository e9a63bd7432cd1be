// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"encoding/binary"
	"net/netip"
	"runtime"
	"sync"
	"testing"

	"github.com/seed-98f0d4c2/runnel/peer"
)

// However many sessions send at once, and whatever is held meanwhile, packets of each stay in the order in which it has
// sent them, unless reordering is asked for.
func TestConditionerKeepsOrder(t *testing.T) {
	const senders, trains, size = 4, 300, 16
	var c peer.Conditioner
	c.Set(peer.Conditions{Corrupt: 1e-12})
	var mu sync.Mutex
	var next [senders]uint32
	wrong := 0
	sink := &sinkNetwork{onWrite: func(b []byte) {
		from, n := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
		runtime.Gosched() // as a system call may
		mu.Lock()
		defer mu.Unlock()
		if next[from]++; n != next[from]-1 {
			wrong++
		}
	}}
	e, err := peer.Listen(t.Context(), &peer.Config{Conditioner: &c, Network: sink})
	if err != nil {
		t.Fatal(err)
	}
	to := netip.MustParseAddrPort("192.0.2.1:1")
	var wg sync.WaitGroup
	for from := range uint32(senders) {
		wg.Go(func() {
			n := uint32(0)
			for range trains {
				var b []byte
				for range 8 {
					b = binary.BigEndian.AppendUint32(b, from)
					b = binary.BigEndian.AppendUint32(b, n)
					b = append(b, make([]byte, size-8)...)
					n++
				}
				if !peer.SendConditioned(e, b, size, to) {
					t.Error("the conditioner did not take what it should")
				}
			}
		})
	}
	wg.Wait()
	if err := e.Close(expired(t)); err != nil {
		t.Fatal(err)
	}
	if st := c.Stats().Send; st.Packets != senders*trains*8 || st.Delivered+st.Discarded != st.Packets {
		t.Errorf("%+v, want %d packets, all of them delivered or discarded", st, senders*trains*8)
	}
	if wrong > 0 {
		t.Errorf("%d packets came out of order", wrong)
	}
}
