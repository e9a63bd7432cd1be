// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package stunx

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"testing"

	"github.com/pion/stun"
)

// crash is the 32-byte datagram of GHSA-34rh-wp3j-6cxc: a Send indication that ends with an empty XOR-PEER-ADDRESS, so
// that nothing lies behind the slice that the library indexes.
func crash() []byte {
	b := NewBuilder(nil, Send, Indication, [12]byte{1, 2, 3}).Add(DataAttr, []byte("data")).Add(XORPeerAddress, nil).Bytes()
	return append(make([]byte, 0, len(b)), b...)
}

// vectors of RFC 5769 §2: a request and a response with MESSAGE-INTEGRITY and FINGERPRINT.
var vectors = []string{
	"000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e74002400046e0001ff80290008932ff9b1" +
		"51263b36000600096576746a3a68367659202020000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a280280004e57a3bcf",
	"0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220002000080001a147e112a643000800142b91f599" +
		"fd9e90c38c7489f92af9ba53f06be7d780280004c07d4c96",
	"010100482112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220002000140002a1470113a9faa5d3f179bc25f4b5" +
		"bed2b9d900080014a382954e4be67bf11784c97c8292c275bfe3ed4180280004c8fb0b4c",
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSaneVectors(t *testing.T) {
	for i, s := range vectors {
		b := unhex(t, s)
		if !Sane(b) {
			t.Errorf("vector %d of RFC 5769 refused", i)
		}
		if !CheckFingerprint(b) {
			t.Errorf("vector %d: fingerprint not recognised", i)
		}
		if !CheckIntegrity(b, []byte("VOkJxbRl1RmTxUk/WvJxBt")) {
			t.Errorf("vector %d: integrity not recognised", i)
		}
		if CheckIntegrity(b, []byte("another")) {
			t.Errorf("vector %d: integrity accepted under the wrong key", i)
		}
	}
	for i, want := range []string{"192.0.2.1:32853", "[2001:db8:1234:5678:11:2233:4455:6677]:32853"} {
		if _, got, err := ParseBinding(unhex(t, vectors[i+1])); err != nil || got.String() != want {
			t.Errorf("mapped address = %v, %v, want %s", got, err, want)
		}
	}
	if u, ok := Username(unhex(t, vectors[0])); !ok || u != "evtj:h6vY" {
		t.Errorf("username = %q, %v, want evtj:h6vY", u, ok)
	}
}

func TestSaneRefuses(t *testing.T) {
	tx := NewTransaction()
	msg := func() *Builder { return NewBuilder(nil, Binding, Request, tx) }
	v4 := netip.MustParseAddrPort("192.0.2.1:1")
	edit := func(b []byte, f func([]byte) []byte) []byte { return f(bytes.Clone(b)) }
	key := []byte("k")
	many := msg()
	for range MaxAttributes + 1 {
		many.Add(0x8099, nil)
	}
	tests := map[string][]byte{
		"empty":                          nil,
		"the crash datagram":             crash(),
		"short header":                   msg().Bytes()[:19],
		"no cookie":                      edit(msg().Bytes(), func(b []byte) []byte { b[4] = 0; return b }),
		"leading bits":                   edit(msg().Bytes(), func(b []byte) []byte { b[0] = 0x40; return b }),
		"length too long":                edit(msg().Bytes(), func(b []byte) []byte { b[3] = 4; return b }),
		"trailing bytes":                 append(msg().Bytes(), 0, 0, 0, 0),
		"odd length":                     edit(msg().Bytes(), func(b []byte) []byte { b[3] = 2; return append(b, 0, 0) }),
		"attribute overruns":             edit(msg().Add(0x8099, []byte{1}).Bytes(), func(b []byte) []byte { b[23] = 5; return b }),
		"attribute overruns by a lot":    edit(msg().Add(0x8099, []byte{1}).Bytes(), func(b []byte) []byte { b[22] = 0xFF; b[23] = 0xFF; return b }),
		"too many attributes":            many.Bytes(),
		"empty xor address":              msg().Add(XORMappedAddress, nil).Bytes(),
		"empty address of old drafts":    msg().Add(legacyXORMappedAddress, nil).Bytes(),
		"xor address of one byte":        msg().Add(XORPeerAddress, []byte{0}).Bytes(),
		"xor address of four bytes":      msg().Add(XORRelayedAddress, []byte{0, 1, 0, 0}).Bytes(),
		"v4 family, v6 size":             msg().Add(XORPeerAddress, append([]byte{0, 1}, make([]byte, 18)...)).Bytes(),
		"v6 family, v4 size":             msg().Add(XORPeerAddress, append([]byte{0, 2}, make([]byte, 6)...)).Bytes(),
		"unknown family":                 msg().Add(XORPeerAddress, append([]byte{0, 3}, make([]byte, 6)...)).Bytes(),
		"first byte of the value set":    msg().Add(XORPeerAddress, append([]byte{1, 1}, make([]byte, 6)...)).Bytes(),
		"short mapped address":           msg().Add(MappedAddress, []byte{0, 1, 0, 0}).Bytes(),
		"short integrity":                msg().Add(MessageIntegrity, make([]byte, 19)).Bytes(),
		"short fingerprint":              msg().Add(Fingerprint, make([]byte, 3)).Bytes(),
		"USE-CANDIDATE after integrity":  msg().AddIntegrity(key).Add(0x0025, nil).Bytes(),
		"address after integrity":        msg().AddIntegrity(key).AddXORAddr(XORMappedAddress, v4).Bytes(),
		"two integrities":                msg().AddIntegrity(key).AddIntegrity(key).Bytes(),
		"sha-256 after sha-1":            msg().AddIntegrity(key).Add(MessageIntegritySHA256, make([]byte, 32)).Bytes(),
		"two fingerprints":               msg().AddFingerprint().AddFingerprint().Bytes(),
		"anything after the fingerprint": msg().AddFingerprint().Add(0x8099, nil).Bytes(),
		"integrity after fingerprint":    msg().AddFingerprint().AddIntegrity(key).Bytes(),
	}
	for name, b := range tests {
		if Sane(b) {
			t.Errorf("%s: accepted % x", name, b)
		}
	}
	for name, b := range map[string][]byte{
		"bare":       msg().Bytes(),
		"full":       msg().AddXORAddr(XORPeerAddress, v4).AddIntegrity(key).AddFingerprint().Bytes(),
		"fp only":    msg().AddFingerprint().Bytes(),
		"two peers":  msg().AddXORAddr(XORPeerAddress, v4).AddXORAddr(XORPeerAddress, v4).Bytes(),
		"sha-256":    msg().Add(MessageIntegritySHA256, make([]byte, 32)).AddFingerprint().Bytes(),
		"odd values": msg().Add(UsernameAttr, []byte("abc")).Add(Realm, []byte("de")).Bytes(),
	} {
		if !Sane(b) {
			t.Errorf("%s: refused % x", name, b)
		}
	}
}

func TestBuilderAgreesWithTheLibrary(t *testing.T) {
	key := LongTermKey("user", "realm", "pass")
	if want := stun.NewLongTermIntegrity("user", "realm", "pass"); !bytes.Equal(key, want) {
		t.Fatalf("long-term key = %x, want %x", key, []byte(want))
	}
	for _, addr := range []string{"192.0.2.7:4711", "[2001:db8::1]:65535", "[::ffff:10.0.0.1]:1"} {
		ap := netip.MustParseAddrPort(addr)
		tx := NewTransaction()
		b := NewBuilder(nil, CreatePermission, Failure, tx).AddXORAddr(XORPeerAddress, ap).AddError(403).
			AddIntegrity(key).AddFingerprint().Bytes()
		if !Sane(b) || !CheckIntegrity(b, key) || !CheckFingerprint(b) {
			t.Fatalf("%s: own message refused", addr)
		}
		m := &stun.Message{Raw: bytes.Clone(b)}
		if err := m.Decode(); err != nil {
			t.Fatal(err)
		}
		if err := stun.Fingerprint.Check(m); err != nil {
			t.Errorf("%s: fingerprint: %v", addr, err)
		}
		if err := stun.MessageIntegrity(key).Check(m); err != nil {
			t.Errorf("%s: integrity: %v", addr, err)
		}
		if m.Type != stun.NewType(stun.MethodCreatePermission, stun.ClassErrorResponse) || m.TransactionID != tx {
			t.Errorf("%s: header = %v %x", addr, m.Type, m.TransactionID)
		}
		if mm, c := Type(b); mm != CreatePermission || c != Failure {
			t.Errorf("%s: Type = %v %v", addr, mm, c)
		}
		var x stun.XORMappedAddress
		if err := x.GetFromAs(m, stun.AttrXORPeerAddress); err != nil {
			t.Fatal(err)
		}
		if got, ok := XORAddr(must(Get(b, XORPeerAddress)), tx); !ok || got != ap || x.Port != int(ap.Port()) ||
			!x.IP.Equal(ap.Addr().AsSlice()) {
			t.Errorf("%s: ours %v, library %v", addr, got, x)
		}
		var code stun.ErrorCodeAttribute
		if err := code.GetFrom(m); err != nil || code.Code != 403 || ErrorOf(b) != 403 {
			t.Errorf("%s: error code %v %v %d", addr, code, err, ErrorOf(b))
		}
	}
}

func must(v []byte, ok bool) []byte {
	if !ok {
		panic("missing attribute")
	}
	return v
}

func TestTypesRoundTrip(t *testing.T) {
	for m := range Method(0x1000) {
		for c := range Class(4) {
			b := NewBuilder(nil, m, c, [12]byte{}).Bytes()
			if gm, gc := Type(b); gm != m || gc != c {
				t.Fatalf("Type = %#x %d, want %#x %d", gm, gc, m, c)
			}
			if want := stun.NewType(stun.Method(m), stun.MessageClass(c)).Value(); binary.BigEndian.Uint16(b) != want {
				t.Fatalf("%#x/%d encodes to %#x, library says %#x", m, c, binary.BigEndian.Uint16(b), want)
			}
		}
	}
}

func TestParseBinding(t *testing.T) {
	tx, req := NewBinding()
	if !IsRequest(req) || IsResponse(req) || TransactionID(req) != tx || len(req) != HeaderSize {
		t.Fatalf("bad request % x", req)
	}
	ap := netip.MustParseAddrPort("198.51.100.7:4711")
	mapped := netip.AddrPortFrom(netip.AddrFrom16(ap.Addr().As16()), ap.Port())
	answer := func(c Class) *Builder { return NewBuilder(nil, Binding, c, tx) }
	tests := []struct {
		name string
		b    []byte
		want netip.AddrPort
		err  error
	}{
		{"xor", answer(Success).AddXORAddr(XORMappedAddress, ap).Bytes(), ap, nil},
		{"xor, v4-mapped", answer(Success).AddXORAddr(XORMappedAddress, mapped).Bytes(), ap, nil},
		{"plain", answer(Success).Add(MappedAddress, []byte{0, 1, 0x12, 0x67, 198, 51, 100, 7}).Bytes(), ap, nil},
		{"none", answer(Success).Bytes(), netip.AddrPort{}, ErrNoAddress},
		{"port 0", answer(Success).AddXORAddr(XORMappedAddress, netip.AddrPortFrom(ap.Addr(), 0)).Bytes(), netip.AddrPort{}, ErrNoAddress},
		{"error", answer(Failure).AddError(500).Bytes(), netip.AddrPort{}, CodeError(500)},
		{"request", req, netip.AddrPort{}, ErrNotBinding},
		{"other method", NewBuilder(nil, Allocate, Success, tx).Bytes(), netip.AddrPort{}, ErrNotBinding},
		{"garbage", []byte("garbage"), netip.AddrPort{}, ErrMalformed},
	}
	for _, tt := range tests {
		gotTx, got, err := ParseBinding(tt.b)
		if got != tt.want || err != tt.err {
			t.Errorf("%s: got %v, %v, want %v, %v", tt.name, got, err, tt.want, tt.err)
		}
		if err != ErrMalformed && gotTx != tx {
			t.Errorf("%s: transaction %x, want %x", tt.name, gotTx, tx)
		}
	}
}

func TestSaneAllocatesNothing(t *testing.T) {
	b := unhex(t, vectors[0])
	if n := testing.AllocsPerRun(100, func() { Sane(b); TransactionID(b); IsRequest(b) }); n != 0 {
		t.Errorf("%v allocations per message, want 0", n)
	}
}

func BenchmarkSane(b *testing.B) {
	m := unhex(b, vectors[0])
	b.ReportAllocs()
	for b.Loop() {
		Sane(m)
	}
}

// FuzzSane: whatever passes the filter, the library decodes and reads without panic and agrees with this package.
func FuzzSane(f *testing.F) {
	for _, v := range vectors {
		f.Add(unhex(f, v))
	}
	f.Add(crash())
	tx := NewTransaction()
	ap := netip.MustParseAddrPort("192.0.2.1:99")
	f.Add(NewBuilder(nil, Send, Indication, tx).AddXORAddr(XORPeerAddress, ap).Add(DataAttr, []byte("x")).Bytes())
	f.Add(NewBuilder(nil, Allocate, Success, tx).AddXORAddr(XORRelayedAddress, ap).AddIntegrity(nil).AddFingerprint().Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		// Exact capacity: an index past the value must not find spare bytes behind it.
		b = append(make([]byte, 0, len(b)), b...)
		for range Attributes(b) { // must not panic whatever the input
		}
		Username(b)
		ErrorOf(b)
		CheckIntegrity(b, []byte("k"))
		_, _, _ = ParseBinding(b)
		if !Sane(b) {
			return
		}
		m := &stun.Message{Raw: b}
		if err := m.Decode(); err != nil {
			t.Fatalf("accepted, but the library says %v: % x", err, b)
		}
		for _, a := range []stun.AttrType{stun.AttrXORMappedAddress, stun.AttrXORPeerAddress, stun.AttrXORRelayedAddress} {
			var x stun.XORMappedAddress
			err := x.GetFromAs(m, a)
			v, ok := Get(b, Attr(a))
			for t, old := range Attributes(b) { // whichever comes first
				if a == stun.AttrXORMappedAddress && (t == XORMappedAddress || t == legacyXORMappedAddress) {
					v, ok = old, true
					break
				}
			}
			if ok != (err == nil) {
				t.Fatalf("%v: present %v, library %v: % x", a, ok, err, b)
			}
			if !ok {
				continue
			}
			ap, ok := XORAddr(v, TransactionID(b))
			if got, _ := netip.AddrFromSlice(x.IP); !ok || ap.Port() != uint16(x.Port) || ap.Addr() != got {
				t.Fatalf("%v: ours %v, library %v", a, ap, x)
			}
		}
		var (
			mapped stun.MappedAddress
			other  stun.AlternateServer
			user   stun.Username
			realm  stun.Realm
			nonce  stun.Nonce
			code   stun.ErrorCodeAttribute
			unk    stun.UnknownAttributes
		)
		for _, g := range []stun.Getter{&mapped, &other, &user, &realm, &nonce, &code, &unk} {
			_ = g.GetFrom(m)
		}
		_ = stun.MessageIntegrity("k").Check(m)
		_ = stun.Fingerprint.Check(m)
		_ = m.String()
	})
}
