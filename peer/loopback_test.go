// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/seed-98f0d4c2/runnel/peer"
)

// TestLoopback moves messages both ways at once over real sockets, where packets travel in trains and buffers pass from
// hand to hand. With the race detector a buffer that is used after it was given back holds rubbish.
func TestLoopback(t *testing.T) {
	const count = 400
	a, b := loopbackPair(t)
	message := func(seed byte, i int) []byte {
		rng := rand.New(rand.NewPCG(uint64(seed), uint64(i)))
		m := make([]byte, 4+rng.IntN(100_000))
		binary.BigEndian.PutUint32(m, uint32(i))
		chacha := rand.NewChaCha8([32]byte{seed, byte(i), byte(i >> 8)})
		_, _ = chacha.Read(m[4:])
		return m
	}
	var wg sync.WaitGroup
	send := func(s *peer.Session, seed byte) {
		out, err := s.OpenFlow("bulk", nil)
		if err != nil {
			t.Error(err)
			return
		}
		for i := range count {
			if _, err := out.Send(t.Context(), message(seed, i)); err != nil {
				t.Error(err)
				return
			}
		}
		if err := out.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	receive := func(s *peer.Session, seed byte) {
		in, err := s.AcceptFlow(t.Context())
		if err != nil {
			t.Error(err)
			return
		}
		for i := range count {
			m, err := in.Recv(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			if want := message(seed, i); !bytes.Equal(m.Data, want) {
				t.Errorf("message %d of %d bytes is not the one sent, of %d", i, len(m.Data), len(want))
				return
			}
		}
	}
	wg.Go(func() { send(a, 1) })
	wg.Go(func() { send(b, 2) })
	wg.Go(func() { receive(b, 1) })
	wg.Go(func() { receive(a, 2) })
	wg.Wait()
	for _, s := range []*peer.Session{a, b} {
		st := s.Stats()
		if st.Forged+st.Malformed > 0 {
			t.Errorf("%d packets did not open and %d were malformed: somebody wrote into them", st.Forged, st.Malformed)
		}
		if mean := st.BytesSent / st.PacketsSent; mean < 1200 {
			t.Errorf("packets have %d bytes, want more than 1200: loopback takes them", mean)
		}
	}
}
