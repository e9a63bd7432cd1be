// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package signaling

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/hpke"
	"encoding/hex"
	"errors"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// examples are valid messages of all kinds, as small and as large as they get.
func examples() map[string]*Message {
	fill := func(n int) []byte { return bytes.Repeat([]byte{0xab}, n) }
	base := Message{ID: [16]byte{1}, Time: time.UnixMilli(1_700_000_000_123), Attempt: [16]byte{2}}

	offer := base
	offer.Kind, offer.Session, offer.Instance = KindOffer, 1<<63+1, [16]byte{3}
	offer.Ufrag, offer.Pwd, offer.Fingerprint = "ufrg", strings.Repeat("p", 22), [32]byte{4}
	offer.KEM, offer.Suites = fill(kemKeySize), []string{"aes128gcm", "chacha20poly1305"}

	answer := offer
	answer.Kind, answer.KEM, answer.Suites = KindAnswer, fill(kemCiphertextSize), []string{"aes128gcm"}
	answer.Candidates = []Candidate{{CandidateHost, netip.MustParseAddrPort("[fe80::1]:5")}}

	large := offer
	large.Ufrag, large.Pwd = strings.Repeat("u", 256), strings.Repeat("p", 256)
	large.Suites = slices.Repeat([]string{strings.Repeat("s", maxSuiteName)}, maxSuites)
	for range MaxCandidates {
		large.Candidates = append(large.Candidates, Candidate{
			CandidateSrflx, netip.MustParseAddrPort("[2001:db8:1234:5678:9abc:def0:1234:5678]:65535"),
		})
	}

	candidates := base
	candidates.Kind, candidates.Candidates = KindCandidates, []Candidate{{CandidateRelay, netip.MustParseAddrPort("192.0.2.1:3478")}}
	end := base
	end.Kind, end.End = KindCandidates, true
	bye := base
	bye.Kind, bye.Code, bye.Reason = KindBye, 1<<62-1, strings.Repeat("€", MaxReason/3)
	move := candidates
	move.Kind, move.Session, move.PeerSession, move.Seq = KindMove, 1<<63+1, 1<<64-1, 1<<62-1
	gone := base
	gone.Kind, gone.Session, gone.PeerSession = KindGone, 1, 1<<64-1
	nowhere := move
	nowhere.Candidates = nil
	return map[string]*Message{
		"gone": &gone, "move": &move, "move to nowhere": &nowhere,
		"offer": &offer, "answer": &answer, "largest offer": &large, "candidates": &candidates, "end": &end, "bye": &bye,
	}
}

func TestSealOpen(t *testing.T) {
	alice, bob := testKey(1), testKey(2)
	for name, m := range examples() {
		t.Run(name, func(t *testing.T) {
			sealed, err := Seal(alice, IDFromKey(bob), m)
			if err != nil {
				t.Fatal(err)
			}
			if len(sealed) > MaxPayload/2 {
				t.Errorf("%d bytes: little room is left for later fields", len(sealed))
			}
			from, got, err := Open(bob, sealed)
			if err != nil {
				t.Fatal(err)
			}
			if from != IDFromKey(alice) {
				t.Errorf("from %v, want %v", from, IDFromKey(alice))
			}
			if !got.Time.Equal(m.Time) {
				t.Errorf("time %v, want %v", got.Time, m.Time)
			}
			got.Time = m.Time
			if !reflect.DeepEqual(got, m) {
				t.Errorf("opened\n%+v\nwant\n%+v", got, m)
			}
			if !bytes.Contains(m.Raw, []byte(m.Kind.String())) {
				t.Error("Seal did not fill in Raw")
			}
		})
	}
}

func TestSealFillsIn(t *testing.T) {
	m := &Message{Kind: KindBye, Attempt: [16]byte{1}}
	if _, err := Seal(testKey(1), IDFromKey(testKey(2)), m); err != nil {
		t.Fatal(err)
	}
	if m.ID == [16]byte{} || m.Time.IsZero() || m.Time.Nanosecond()%1e6 != 0 || m.Raw == nil {
		t.Errorf("after Seal: %+v; want an ID, a time in milliseconds and the body", m)
	}
}

func TestOpenRefusesAlteredBytes(t *testing.T) {
	alice, bob := testKey(1), testKey(2)
	sealed, err := Seal(alice, IDFromKey(bob), examples()["end"])
	if err != nil {
		t.Fatal(err)
	}
	for i := range sealed {
		b := bytes.Clone(sealed)
		b[i] ^= 0x10
		if _, _, err := Open(bob, b); !errors.Is(err, ErrUnsealed) {
			t.Fatalf("byte %d altered: error %v, want ErrUnsealed", i, err)
		}
	}
	for n := range len(sealed) {
		if _, _, err := Open(bob, sealed[:n]); !errors.Is(err, ErrUnsealed) {
			t.Fatalf("cut to %d bytes: error %v, want ErrUnsealed", n, err)
		}
	}
	if _, _, err := Open(bob, append(bytes.Clone(sealed), 0)); !errors.Is(err, ErrUnsealed) {
		t.Errorf("a byte appended: error %v, want ErrUnsealed", err)
	}
	if _, _, err := Open(testKey(3), sealed); !errors.Is(err, ErrUnsealed) {
		t.Errorf("opened by a third: error %v, want ErrUnsealed", err)
	}
	if _, _, err := Open(bob, make([]byte, MaxPayload+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too large: error %v, want ErrTooLarge", err)
	}
}

// encrypt is the outer half of Seal, for insiders that misbehave.
func encrypt(t testing.TB, to PeerID, info, plain []byte) []byte {
	t.Helper()
	pub, err := sealKey(to)
	if err != nil {
		t.Fatal(err)
	}
	b, err := hpke.Seal(pub, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), info, plain)
	if err != nil {
		t.Fatal(err)
	}
	return append([]byte{sealedVersion}, b...)
}

func TestOpenRefusesInsiders(t *testing.T) {
	alice, bob, eve := testKey(1), testKey(2), testKey(3)
	a, b, e := IDFromKey(alice), IDFromKey(bob), IDFromKey(eve)
	m := examples()["end"]
	if _, err := Seal(alice, b, m); err != nil { // fills in Raw
		t.Fatal(err)
	}
	plain := func(from PeerID, sig, raw []byte) []byte { return slices.Concat(from[:], sig, raw) }
	smallOrder := PeerID{1}
	tests := []struct {
		name string
		info []byte
		text []byte
	}{
		{"eve passes on what alice sent her", sealInfo(b), plain(a, ed25519.Sign(alice, signInput(e, a, m.Raw)), m.Raw)},
		{"eve says she is alice", sealInfo(b), plain(a, ed25519.Sign(eve, signInput(b, a, m.Raw)), m.Raw)},
		{"eve takes over what alice signed", sealInfo(b), plain(e, ed25519.Sign(alice, signInput(b, a, m.Raw)), m.Raw)},
		{"no signature", sealInfo(b), plain(a, make([]byte, 64), m.Raw)},
		{"signature without domain", sealInfo(b), plain(a, ed25519.Sign(alice, slices.Concat(b[:], a[:], m.Raw)), m.Raw)},
		{"body swapped", sealInfo(b), plain(a, ed25519.Sign(alice, signInput(b, a, m.Raw)), append(slices.Clone(m.Raw), ' '))},
		{"key for which anybody can sign", sealInfo(b), plain(smallOrder, slices.Concat(smallOrder[:], make([]byte, 32)), m.Raw)},
		{"other context", []byte("other"), plain(a, ed25519.Sign(alice, signInput(b, a, m.Raw)), m.Raw)},
		{"nothing inside", sealInfo(b), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, _, err := Open(bob, encrypt(t, b, tt.info, tt.text)); !errors.Is(err, ErrUnsealed) {
				t.Errorf("error %v, want ErrUnsealed", err)
			}
		})
	}
	good := encrypt(t, b, sealInfo(b), plain(a, ed25519.Sign(alice, signInput(b, a, m.Raw)), m.Raw))
	if from, _, err := Open(bob, good); err != nil || from != a {
		t.Errorf("the harness itself: %v, %v; want it to open", from, err)
	}
}

func TestSealRefusesReceivers(t *testing.T) {
	for name, to := range map[string]PeerID{"zero": {}, "small order": {1}} {
		if _, err := Seal(testKey(1), to, examples()["end"]); !errors.Is(err, ErrBadPeerID) {
			t.Errorf("%s: error %v, want ErrBadPeerID", name, err)
		}
	}
	if _, err := Seal(nil, IDFromKey(testKey(1)), examples()["end"]); !errors.Is(err, ErrKeyFile) {
		t.Errorf("no key: error %v, want ErrKeyFile", err)
	}
	if _, _, err := Open(nil, make([]byte, 500)); err == nil {
		t.Error("Open without a key did not fail")
	}
}

// TestSealedVector opens the example of docs/PROTOCOL.md, so that what others implement from it stays what this does.
func TestSealedVector(t *testing.T) {
	v := readVector(t, "testdata/sealed.txt")
	bob := ed25519.NewKeyFromSeed(v["receiver seed"])
	alice := ed25519.NewKeyFromSeed(v["sender seed"])
	from, m, err := Open(bob, v["payload"])
	if err != nil {
		t.Fatal(err)
	}
	if from != IDFromKey(alice) {
		t.Errorf("from %v, want %v", from, IDFromKey(alice))
	}
	if !bytes.Equal(m.Raw, v["body"]) {
		t.Errorf("body\n%s\nwant\n%s", m.Raw, v["body"])
	}
	if sig := ed25519.Sign(alice, signInput(IDFromKey(bob), from, m.Raw)); !bytes.Equal(sig, v["signature"]) {
		t.Errorf("signature\n%x\nwant\n%x", sig, v["signature"])
	}
	doc, err := os.ReadFile("../docs/PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(string(doc)), "")
	for name, b := range v {
		if !strings.Contains(text, hex.EncodeToString(b)) && !strings.Contains(string(doc), string(b)) {
			t.Errorf("docs/PROTOCOL.md does not have the %s of testdata/sealed.txt", name)
		}
	}
}

// readVector reads lines of the form "name: hex" or "name: {json}". A line that starts with a space continues the one
// before.
func readVector(t *testing.T, name string) map[string][]byte {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	text := make(map[string]string)
	var key string
	for sc := bufio.NewScanner(f); sc.Scan(); {
		line := sc.Text()
		if strings.HasPrefix(line, "#") {
			continue
		}
		if strings.HasPrefix(line, " ") {
			text[key] += strings.TrimSpace(line)
			continue
		}
		var value string
		key, value, _ = strings.Cut(line, ":")
		text[key] = strings.TrimSpace(value)
	}
	out := make(map[string][]byte)
	for key, s := range text {
		if strings.HasPrefix(s, "{") {
			out[key] = []byte(s)
			continue
		}
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatalf("%s: %s: %v", name, key, err)
		}
		out[key] = b
	}
	return out
}

// FuzzOpen feeds Open with bytes, and with bodies that are sealed properly: an attacker has a key of his own.
func FuzzOpen(f *testing.F) {
	alice, bob := testKey(1), testKey(2)
	for _, m := range examples() {
		sealed, err := Seal(alice, IDFromKey(bob), m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(sealed, false)
		f.Add(m.Raw, true)
	}
	f.Add([]byte(`{"kind":"offer","candidates":[{}]}`), true)
	f.Fuzz(func(t *testing.T, b []byte, inside bool) {
		if inside {
			a, to := IDFromKey(alice), IDFromKey(bob)
			sig := ed25519.Sign(alice, signInput(to, a, b))
			b = encrypt(t, to, sealInfo(to), slices.Concat(a[:], sig, b))
		}
		_, m, err := Open(bob, b)
		if err != nil {
			if m != nil {
				t.Fatal("a message and an error")
			}
			return
		}
		if err := m.validate(); err != nil {
			t.Fatalf("Open returned what is not valid: %v", err)
		}
		if _, err := Seal(bob, IDFromKey(alice), m); err != nil {
			t.Fatalf("what was opened cannot be sealed: %v", err)
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	m := examples()["offer"]
	to := IDFromKey(testKey(2))
	for b.Loop() {
		if _, err := Seal(testKey(1), to, m); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	sealed, err := Seal(testKey(1), IDFromKey(testKey(2)), examples()["offer"])
	if err != nil {
		b.Fatal(err)
	}
	key := testKey(2)
	for b.Loop() {
		if _, _, err := Open(key, sealed); err != nil {
			b.Fatal(err)
		}
	}
}
