// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"testing"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// FuzzOpen gives arbitrary bytes to a session in the middle of its life: nothing may open, nothing may change, and
// authentic packets must go on opening.
func FuzzOpen(f *testing.F) {
	// One of the session's own with a bit changed would be no good: the fuzzer changes it back.
	secret := DeriveSecret(make([]byte, 32), []byte("kem"), []byte("transcript"))
	other, err := NewSession(secret, Initiator, AES128GCM, nil)
	if err != nil {
		f.Fatal(err)
	}
	p := &pair{t: f, a: other}
	f.Add(p.seal(p.a, "authentic elsewhere"), uint8(0))
	f.Add([]byte{0xc0}, uint8(1))
	f.Add(append([]byte{0xd3}, make([]byte, 40)...), uint8(7))
	f.Fuzz(func(t *testing.T, pkt []byte, warm uint8) {
		p := newPair(t, suites[warm%2], &Config{RekeyAfter: 3})
		p.sendAll("warming up", p.a, p.b, int(warm%8))
		p.sendAll("warming up", p.b, p.a, int(warm%3))
		h, err := wire.ParseHeader(pkt)
		if err != nil {
			return
		}
		own := p.seal(p.a, "held back")
		before := *p.b
		if _, _, err := p.b.Open(append([]byte(nil), pkt...), h); err == nil {
			t.Fatalf("a packet that nobody sealed opens: %x", pkt)
		}
		after := *p.b
		before.stats, after.stats = Stats{}, Stats{}
		before.nonce, after.nonce = [nonceSize]byte{}, [nonceSize]byte{}
		if before != after {
			t.Fatalf("a refused packet changed the session: %x", pkt)
		}
		p.wantOpen("authentic packet after the fuzzed one", p.b, own)
	})
}
