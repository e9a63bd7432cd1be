// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"crypto/ed25519"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

func TestRoundTrip(t *testing.T) {
	eachSuite(t, func(t *testing.T, suite Suite) {
		p := newPair(t, suite, nil)
		for i, payload := range []string{"", "x", strings.Repeat("runnel", 180)} {
			for _, dir := range []struct{ from, to *Session }{{p.a, p.b}, {p.b, p.a}} {
				pkt := p.seal(dir.from, payload)
				got, pn, err := p.open(dir.to, pkt)
				if err != nil || got != payload || pn != uint64(i) {
					t.Fatalf("Open = %q, %d, %v; want %q, %d", got, pn, err, payload, i)
				}
			}
		}
	})
}

func TestEveryBitCounts(t *testing.T) {
	eachSuite(t, func(t *testing.T, suite Suite) {
		p := newPair(t, suite, nil)
		pkt := p.seal(p.a, "a few bytes of payload")
		for bit := range len(pkt) * 8 {
			bad := append([]byte(nil), pkt...)
			bad[bit/8] ^= 1 << (bit % 8)
			if _, _, err := p.open(p.b, bad); err == nil {
				t.Fatalf("packet with bit %d of byte %d flipped opens", bit%8, bit/8)
			}
		}
		p.wantOpen("the intact packet after all the damaged ones", p.b, pkt)
	})
}

func TestTruncationAndExtension(t *testing.T) {
	p := newPair(t, AES128GCM, nil)
	pkt := p.seal(p.a, "payload")
	for n := range len(pkt) {
		if _, _, err := p.open(p.b, pkt[:n]); err == nil {
			t.Fatalf("packet cut to %d of %d bytes opens", n, len(pkt))
		}
	}
	p.wantErr("one byte too many", p.b, append(append([]byte(nil), pkt...), 0), ErrAuth)
	// A header that does not belong to the packet must not lead outside of it.
	if _, _, err := p.b.Open(pkt[:5], wire.Header{Len: 9, PNLen: 1}); err != ErrAuth {
		t.Errorf("header longer than the packet: Open = %v, want %v", err, ErrAuth)
	}
	p.wantOpen("the intact packet", p.b, pkt)
}

func TestReflectionFails(t *testing.T) {
	eachSuite(t, func(t *testing.T, suite Suite) {
		p := newPair(t, suite, nil)
		pkt := p.seal(p.a, "mine")
		p.wantErr("own packet sent back", p.a, pkt, ErrAuth)
	})
}

func TestOtherSessionFails(t *testing.T) {
	p := newPair(t, AES128GCM, nil)
	q := newPair(t, ChaCha20Poly1305, nil)
	p.wantErr("packet of another suite", p.b, q.seal(q.a, "x"), ErrAuth)
	other, err := NewSession(DeriveSecret(make([]byte, 32), nil, nil), Initiator, AES128GCM, nil)
	if err != nil {
		t.Fatal(err)
	}
	p.wantErr("packet of another secret", p.b, p.seal(other, "x"), ErrAuth)
}

func TestReplayAndReorder(t *testing.T) {
	p := newPair(t, AES128GCM, nil)
	const n = Window + 200
	pkts := make([][]byte, n)
	for i := range pkts {
		pkts[i] = p.seal(p.a, "x")
	}
	r := rand.New(rand.NewPCG(1, 2))
	// Any order in which nothing lags by a window must deliver everything, once.
	const block = 4000
	for start := 0; start < n; start += block {
		part := pkts[start:min(start+block, n)]
		for _, i := range r.Perm(len(part)) {
			p.wantOpen("reordered", p.b, part[i])
			p.wantErr("replayed at once", p.b, part[i], ErrReplay)
		}
	}
	for i, pkt := range pkts {
		if _, _, err := p.open(p.b, pkt); err == nil {
			t.Fatalf("packet %d opens a second time", i)
		}
	}
	if got, want := p.b.Stats().Opened, uint64(n); got != want {
		t.Errorf("opened %d packets, want %d", got, want)
	}
}

func TestTooOld(t *testing.T) {
	p := newPair(t, AES128GCM, nil)
	first, second := p.seal(p.a, "0"), p.seal(p.a, "1")
	for range Window - 1 {
		p.seal(p.a, "")
	}
	p.wantOpen("newest", p.b, p.seal(p.a, "newest")) // number Window+1
	p.wantErr("lagging by one more than the window", p.b, first, ErrReplay)
	p.wantErr("lagging by exactly the window", p.b, second, ErrReplay)
}

func TestSealRefusesUsedNumber(t *testing.T) {
	p := newPair(t, AES128GCM, nil)
	p.seal(p.a, "x")
	defer func() {
		if recover() == nil {
			t.Error("sealing a used packet number did not panic; its nonce would be used twice")
		}
	}()
	p.a.Seal(make([]byte, 10, 64), 10, 0)
}

func TestSkippedNumbers(t *testing.T) {
	p := newPair(t, AES128GCM, nil)
	pkt := wire.AppendHeader(nil, 1, false, 7, -1)
	pkt = p.a.Seal(pkt, len(pkt), 7)
	if p.a.NextPN() != 8 {
		t.Errorf("NextPN after 7 = %d, want 8", p.a.NextPN())
	}
	if _, pn, err := p.open(p.b, pkt); err != nil || pn != 7 {
		t.Errorf("Open = %d, %v; want 7", pn, err)
	}
}

func TestSealWithoutCapacity(t *testing.T) {
	p := newPair(t, AES128GCM, nil)
	pkt := wire.AppendHeader(nil, 1, false, 0, -1)
	hdrLen := len(pkt)
	pkt = append(pkt, "hello"...)
	pkt = p.a.Seal(slices.Clip(pkt), hdrLen, 0)
	if got, _, err := p.open(p.b, pkt); err != nil || got != "hello" {
		t.Errorf("Open = %q, %v; want hello", got, err)
	}
}

func TestNewSessionErrors(t *testing.T) {
	for _, tt := range []struct {
		name  string
		role  Role
		suite Suite
		c     *Config
	}{
		{"no role", 0, AES128GCM, nil},
		{"bad role", 3, AES128GCM, nil},
		{"bad suite", Initiator, 9, nil},
		{"rekey beyond the limit", Initiator, AES128GCM, &Config{RekeyAfter: 1<<23 + 1}},
	} {
		if _, err := NewSession(testSecret(), tt.role, tt.suite, tt.c); err == nil || !strings.HasPrefix(err.Error(), "seal: ") {
			t.Errorf("%s: NewSession error = %v, want one of package seal", tt.name, err)
		}
	}
}

func TestSuiteNames(t *testing.T) {
	for _, s := range suites {
		if got, ok := ParseSuite(s.String()); !ok || got != s {
			t.Errorf("ParseSuite(%q) = %v, %v", s, got, ok)
		}
	}
	if _, ok := ParseSuite("rot13"); ok {
		t.Error("ParseSuite accepts an unknown name")
	}
}

func TestIdentity(t *testing.T) {
	pub, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	otherPub, _, _ := ed25519.GenerateKey(nil)
	b := testSecret().Binding()
	sig, err := SignIdentity(key, b, Initiator)
	if err != nil {
		t.Fatal(err)
	}
	wrong := b
	wrong[0] ^= 1
	badSig := append([]byte(nil), sig...)
	badSig[63] ^= 1
	for _, tt := range []struct {
		name string
		pub  ed25519.PublicKey
		b    [32]byte
		r    Role
		sig  []byte
		want bool
	}{
		{"right", pub, b, Initiator, sig, true},
		{"reflected: the other role", pub, b, Responder, sig, false},
		{"no role", pub, b, 0, sig, false},
		{"another session", pub, wrong, Initiator, sig, false},
		{"another key", otherPub, b, Initiator, sig, false},
		{"damaged", pub, b, Initiator, badSig, false},
		{"short", pub, b, Initiator, sig[:63], false},
		{"no key", nil, b, Initiator, sig, false},
		{"empty", pub, b, Initiator, nil, false},
	} {
		if got := VerifyIdentity(tt.pub, tt.b, tt.r, tt.sig); got != tt.want {
			t.Errorf("%s: VerifyIdentity = %v, want %v", tt.name, got, tt.want)
		}
	}
	if _, err := SignIdentity(nil, b, Initiator); err == nil {
		t.Error("SignIdentity accepts a nil key")
	}
	if _, err := SignIdentity(key, b, 0); err == nil {
		t.Error("SignIdentity accepts no role")
	}
}

func TestDeriveSecretSeparatesInputs(t *testing.T) {
	exp := make([]byte, 32)
	seen := map[Secret]string{}
	for _, tt := range []struct {
		name                 string
		exporter, kem, trans []byte
	}{
		{"none", exp, nil, nil},
		{"kem", exp, []byte("ab"), nil},
		{"transcript", exp, nil, []byte("ab")},
		{"one each", exp, []byte("a"), []byte("b")},
		{"longer exporter", append(exp[:32:32], 0), nil, nil},
	} {
		s := DeriveSecret(tt.exporter, tt.kem, tt.trans)
		if other, ok := seen[s]; ok {
			t.Errorf("inputs %q and %q give the same secret", tt.name, other)
		}
		seen[s] = tt.name
	}
	defer func() {
		if recover() == nil {
			t.Error("DeriveSecret accepts an empty exporter value")
		}
	}()
	DeriveSecret(nil, []byte("kem"), nil)
}
