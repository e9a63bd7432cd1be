// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// golden returns an example of docs/PROTOCOL.md §13.
func golden(t *testing.T, name string) []byte {
	t.Helper()
	file, err := os.ReadFile("../../docs/PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	_, examples, _ := strings.Cut(string(file), "```golden\n")
	examples, _, _ = strings.Cut(examples, "```")
	for line := range strings.Lines(examples) {
		k, v, ok := strings.Cut(line, "=")
		if !ok || strings.TrimSpace(k) != name {
			continue
		}
		b, err := hex.DecodeString(strings.Join(strings.Fields(v), ""))
		if err != nil {
			t.Fatalf("golden %s: %v", name, err)
		}
		return b
	}
	t.Fatalf("no golden example %q", name)
	return nil
}

func TestVarint(t *testing.T) {
	// The examples of RFC 9000 §A.1 and the edges of each length.
	for _, test := range []struct {
		v   uint64
		hex string
	}{
		{151288809941952652, "c2197c5eff14e88c"},
		{494878333, "9d7f3e7d"},
		{15293, "7bbd"},
		{37, "25"},
		{0, "00"},
		{63, "3f"},
		{64, "4040"},
		{16383, "7fff"},
		{16384, "80004000"},
		{1<<30 - 1, "bfffffff"},
		{1 << 30, "c000000040000000"},
		{MaxVarint, "ffffffffffffffff"},
	} {
		b := AppendVarint(nil, test.v)
		if got := hex.EncodeToString(b); got != test.hex {
			t.Errorf("AppendVarint(%d) = %s, want %s", test.v, got, test.hex)
		}
		if v, n := ReadVarint(b); v != test.v || n != len(b) {
			t.Errorf("ReadVarint(%x) = %d, %d, want %d, %d", b, v, n, test.v, len(b))
		}
		if n := VarintLen(test.v); n != len(b) {
			t.Errorf("VarintLen(%d) = %d, want %d", test.v, n, len(b))
		}
		for cut := range b {
			if _, n := ReadVarint(b[:cut]); n != 0 {
				t.Errorf("ReadVarint(%x) = _, %d, want 0: the encoding is cut short", b[:cut], n)
			}
		}
	}
	if v, n := ReadVarint([]byte{0x40, 0x25}); v != 37 || n != 2 {
		t.Errorf("ReadVarint of an overlong 37 = %d, %d, want 37, 2", v, n)
	}
}

func TestHeaderGolden(t *testing.T) {
	const sid = 0x0123456789abcdef
	for _, test := range []struct {
		name    string
		phase   bool
		pn      uint64
		largest int64
		want    Header
	}{
		{"header-pn2", false, 7, 6, Header{sid, false, 7, 2, 11}},
		{"header-phase", true, 0x1234, 0x1134, Header{sid, true, 0x1234, 2, 11}},
		{"header-pn3", false, 0x1abcdef, 0x1abcdef - 0x10000, Header{sid, false, 0xabcdef, 3, 12}},
		{"header-pn4", false, 0x1100abcdef, 0x10f0000000, Header{sid, false, 0x00abcdef, 4, 13}},
	} {
		got := AppendHeader(nil, sid, test.phase, test.pn, test.largest)
		if want := golden(t, test.name); !bytes.Equal(got, want) {
			t.Errorf("%s: AppendHeader = %x, want %x", test.name, got, want)
		}
		h, err := ParseHeader(append(got, 0xaa))
		if err != nil || h != test.want {
			t.Errorf("%s: ParseHeader = %+v, %v, want %+v", test.name, h, err, test.want)
		}
		if id, ok := PeekSessionID(got); !ok || id != sid {
			t.Errorf("%s: PeekSessionID = %v, %v, want %v", test.name, id, ok, SessionID(sid))
		}
		if pn := DecodePN(int64(test.pn)-1, h.PN, h.PNLen); pn != test.pn {
			t.Errorf("%s: DecodePN = %#x, want %#x", test.name, pn, test.pn)
		}
		for cut := range got {
			if _, err := ParseHeader(got[:cut]); !errors.Is(err, ErrTruncated) {
				t.Errorf("%s: ParseHeader of %d bytes: %v, want ErrTruncated", test.name, cut, err)
			}
		}
	}
}

// TestOvertakenPacketDecodes sends a packet while nothing is unacknowledged and has it overtaken by others.
func TestOvertakenPacketDecodes(t *testing.T) {
	const by = 8191 // what internal/seal's replay window tells apart
	for pn := uint64(0); pn < 1<<17; pn += 251 {
		h, err := ParseHeader(append(AppendHeader(nil, 1, false, pn, int64(pn)-1), 0))
		if err != nil {
			t.Fatal(err)
		}
		if got := DecodePN(int64(pn+by), h.PN, h.PNLen); got != pn {
			t.Fatalf("packet %d overtaken by %d decodes as %d", pn, by, got)
		}
	}
}

func TestHeaderReservedBits(t *testing.T) {
	for first := range 256 {
		b := append([]byte{byte(first)}, make([]byte, 20)...)
		_, err := ParseHeader(b)
		want := first >= 0xc0 && first <= 0xdf && first&0x0c == 0
		if (err == nil) != want {
			t.Errorf("ParseHeader with first byte %#x: %v, want valid %v", first, err, want)
		}
		_, ok := PeekSessionID(b)
		if want := first >= 0xc0 && first <= 0xe0; ok != want {
			t.Errorf("PeekSessionID with first byte %#x: %v, want %v", first, ok, want)
		}
	}
}

// TestDecodePN checks the examples of RFC 9000 §A.2 and §A.3 and that any number within the window survives.
func TestDecodePN(t *testing.T) {
	if got := DecodePN(0xa82f30ea, 0x9b32, 2); got != 0xa82f9b32 {
		t.Errorf("DecodePN(0xa82f30ea, 0x9b32, 2) = %#x, want 0xa82f9b32", got)
	}
	for _, test := range []struct {
		pn   uint64
		want int
	}{{0xac5c02, 2}, {0xace8fe, 3}} {
		if got := pnLen(test.pn, 0xabe8b3); got != test.want {
			t.Errorf("pnLen(%#x, 0xabe8b3) = %d, want %d", test.pn, got, test.want)
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 100_000 {
		acked := int64(r.Uint64N(1<<(1+r.UintN(50)))) - 1
		pn := uint64(acked+1) + r.Uint64N(1<<(1+r.UintN(29)))
		n := pnLen(pn, acked)
		// The receiver has seen something between what it acknowledged and what is being sent, perhaps later ones.
		largest := acked + int64(r.Uint64N(pn-uint64(acked)+2))
		if got := DecodePN(largest, pn&(1<<(8*n)-1), n); got != pn {
			t.Fatalf("DecodePN(%d) of %d sent with %d acked = %d", largest, pn, acked, got)
		}
	}
}

func TestHandshake(t *testing.T) {
	const sid = 0x0123456789abcdef
	dtls := []byte{0x16, 0xfe, 0xfd}
	b := AppendHandshake(nil, sid, dtls, 16)
	if want := golden(t, "handshake"); !bytes.Equal(b, want) {
		t.Errorf("AppendHandshake = %x, want %x", b, want)
	}
	id, got, err := ParseHandshake(b)
	if err != nil || id != sid || !bytes.Equal(got, dtls) {
		t.Errorf("ParseHandshake = %v, %x, %v, want %v, %x", id, got, err, SessionID(sid), dtls)
	}
	if n := len(AppendHandshake(nil, sid, dtls, 0)); n != HandshakeOverhead+3 {
		t.Errorf("unpadded handshake packet has %d bytes, want %d", n, HandshakeOverhead+3)
	}
	for cut := range HandshakeOverhead + 3 {
		if _, _, err := ParseHandshake(b[:cut]); !errors.Is(err, ErrTruncated) {
			t.Errorf("ParseHandshake of %d bytes: %v, want ErrTruncated", cut, err)
		}
	}
	b[len(b)-1] = 1
	if _, _, err := ParseHandshake(b); !errors.Is(err, ErrMalformed) {
		t.Errorf("ParseHandshake with dirty padding: %v, want ErrMalformed", err)
	}
}

func TestNextChunk(t *testing.T) {
	b := []byte{0, 0}
	b = AppendChunk(b, ChunkPing, nil)
	b = AppendChunk(b, ChunkPadding, nil)
	b = AppendChunk(b, 0x90, []byte("elective"))
	b = append(b, 0, 0, 0)
	type chunk struct {
		t    ChunkType
		body string
	}
	var got []chunk
	for len(b) > 0 {
		typ, body, rest, err := NextChunk(b)
		if err != nil {
			t.Fatal(err)
		}
		got, b = append(got, chunk{typ, string(body)}), rest
	}
	want := []chunk{{ChunkPing, ""}, {0x90, "elective"}, {ChunkPadding, ""}}
	if !slices.Equal(got, want) {
		t.Errorf("chunks = %v, want %v", got, want)
	}
	for _, bad := range [][]byte{{1}, {1, 1}, {1, 0x40}, {2, 3, 1, 2}, {0, 0, 0x80, 0xff}} {
		if _, _, _, err := NextChunk(bad); !errors.Is(err, ErrTruncated) {
			t.Errorf("NextChunk(%x): %v, want ErrTruncated", bad, err)
		}
	}
	if n := ChunkSize(64); n != 1+2+64 {
		t.Errorf("ChunkSize(64) = %d, want 67", n)
	}
}

func TestSessionChunksGolden(t *testing.T) {
	data := [PathDataLen]byte{1, 2, 3, 4, 5, 6, 7, 8}
	ack := func(a Ack) []byte {
		b, ok := AppendAck(nil, &a, 1200)
		if !ok {
			t.Fatal("AppendAck: no room in 1200 bytes")
		}
		return b
	}
	for _, test := range []struct {
		name string
		got  []byte
	}{
		{"ping", AppendChunk(nil, ChunkPing, nil)},
		{"ack-one", ack(Ack{Ranges: []AckRange{{5, 6}}})},
		{"ack-ranges", ack(Ack{Delay: 64 * time.Millisecond, Ranges: []AckRange{{97, 101}, {94, 95}, {78, 84}}})},
		{"ack-ecn", ack(Ack{HasECN: true, ECN: ECNCounts{70, 1, 20_000}, Ranges: []AckRange{{5, 6}, {0, 2}}})},
		{"yield", AppendChunk(nil, ChunkYield, nil)},
		{"path-challenge", AppendPathChallenge(nil, data)},
		{"path-response", AppendPathResponse(nil, data)},
		{"close", AppendClose(nil, Close{Code: 7, Reason: "bye!"})},
		{"close-abrupt", AppendClose(nil, Close{Abrupt: true, Code: uint64(CodeFlowControl)})},
		{"close-ack", AppendChunk(nil, ChunkCloseAck, nil)},
	} {
		if want := golden(t, test.name); !bytes.Equal(test.got, want) {
			t.Errorf("%s = %x, want %x", test.name, test.got, want)
		}
	}
	id := AppendIdentity(nil, [32]byte{1}, [64]byte{2})
	if want := golden(t, "identity-size"); !bytes.HasPrefix(id, want) || len(id) != 3+96 {
		t.Errorf("identity = %x, want prefix %x and 99 bytes", id, want)
	}
	_, body, _, _ := NextChunk(id)
	if p, s, err := ParseIdentity(body); err != nil || p[0] != 1 || s[0] != 2 {
		t.Errorf("ParseIdentity = %x, %x, %v", p, s, err)
	}
	if _, _, err := ParseIdentity(body[1:]); !errors.Is(err, ErrMalformed) {
		t.Errorf("ParseIdentity of a short body: %v, want ErrMalformed", err)
	}
	if got, err := ParsePathData(data[:]); err != nil || got != data {
		t.Errorf("ParsePathData = %x, %v, want %x", got, err, data)
	}
	if _, err := ParsePathData(data[:7]); !errors.Is(err, ErrMalformed) {
		t.Errorf("ParsePathData of 7 bytes: %v, want ErrMalformed", err)
	}
}

func TestCloseRoundTrip(t *testing.T) {
	long := strings.Repeat("é", 200) // 400 bytes; the cut must not split a rune
	for _, test := range []struct{ in, want Close }{
		{Close{}, Close{}},
		{Close{true, MaxVarint, "x"}, Close{true, MaxVarint, "x"}},
		{Close{Reason: long}, Close{Reason: long[:256]}},
		{Close{Reason: "a" + long}, Close{Reason: "a" + long[:254]}},
		{Close{Reason: "\xff"}, Close{Reason: "\ufffd"}},
	} {
		typ, body, rest, err := NextChunk(AppendClose(nil, test.in))
		if err != nil || typ != ChunkClose || len(rest) != 0 {
			t.Fatalf("NextChunk = %v, %x, %v", typ, rest, err)
		}
		if got, err := ParseClose(body); err != nil || got != test.want {
			t.Errorf("ParseClose = %+v, %v, want %+v", got, err, test.want)
		}
	}
	for _, bad := range []string{"", "\x00", "\x00\x40", "\x00\x01\xff", "\x00\x01" + strings.Repeat("x", 257)} {
		if _, err := ParseClose([]byte(bad)); err == nil {
			t.Errorf("ParseClose(%.10q) succeeded", bad)
		}
	}
}

func TestAckRoundTripAndLimit(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var got Ack
	for range 2000 {
		var in Ack
		in.Delay = time.Duration(r.IntN(1<<20)) * time.Microsecond
		pn := r.Uint64N(1 << 40)
		for range 1 + r.IntN(MaxAckRanges) {
			n := 1 + r.Uint64N(100)
			if pn < n {
				break
			}
			in.Ranges = append(in.Ranges, AckRange{pn - n + 1, pn + 1})
			pn -= n
			gap := 1 + r.Uint64N(100)
			if pn < gap {
				break
			}
			pn -= gap
		}
		if len(in.Ranges) == 0 {
			continue
		}
		limit := 20 + r.IntN(1200)
		b, ok := AppendAck(make([]byte, 10), &in, limit)
		if len(b) > limit && ok {
			t.Fatalf("AppendAck with limit %d made %d bytes", limit, len(b))
		}
		if !ok {
			if len(b) != 10 || limit > 40 {
				t.Fatalf("AppendAck with limit %d: not ok, %d bytes", limit, len(b))
			}
			continue
		}
		_, body, _, err := NextChunk(b[10:])
		if err != nil {
			t.Fatal(err)
		}
		if err := got.Parse(ChunkAck, body); err != nil {
			t.Fatalf("Parse: %v", err)
		}
		if got.Delay != in.Delay || !slices.Equal(got.Ranges, in.Ranges[:len(got.Ranges)]) {
			t.Fatalf("round trip: got %+v, want a prefix of %+v", got, in)
		}
		if limit > 1000 && len(got.Ranges) != len(in.Ranges) {
			t.Fatalf("AppendAck with limit %d kept %d of %d ranges", limit, len(got.Ranges), len(in.Ranges))
		}
	}
}

func TestAckECN(t *testing.T) {
	in := Ack{Ranges: []AckRange{{5, 9}, {1, 3}}, HasECN: true, ECN: ECNCounts{ECT0: 70, ECT1: 1, CE: 20_000}}
	b, ok := AppendAck(nil, &in, 100)
	typ, body, rest, err := NextChunk(b)
	if !ok || err != nil || typ != ChunkAckECN || len(rest) > 0 {
		t.Fatalf("AppendAck made %x: %v, %v", b, ok, err)
	}
	var got Ack
	if err := got.Parse(typ, body); err != nil || !got.HasECN || got.ECN != in.ECN || !slices.Equal(got.Ranges, in.Ranges) {
		t.Errorf("round trip: %+v, %v; want %+v", got, err, in)
	}
	if err := got.Parse(ChunkAckECN, body[:2]); !errors.Is(err, ErrTruncated) {
		t.Errorf("cut off: %v, want ErrTruncated", err)
	}
	for limit := range len(b) {
		if short, _ := AppendAck(nil, &in, limit); len(short) > limit {
			t.Errorf("limit %d: %d bytes", limit, len(short))
		}
	}
}

func TestAckMalformed(t *testing.T) {
	many := AppendVarint(nil, 10_000)
	many = append(many, 0, 0)
	for range MaxAckRanges {
		many = append(many, 0, 0)
	}
	for name, body := range map[string][]byte{
		"empty": {}, "no delay": {5}, "no first range": {5, 0}, "first range below zero": {5, 0, 6},
		"gap without range": {9, 0, 0, 1}, "gap below zero": {5, 0, 0, 4, 0}, "range below zero": {5, 0, 0, 0, 4},
		"too many ranges": many,
	} {
		var a Ack
		if err := a.Parse(ChunkAck, body); !errors.Is(err, ErrTruncated) && !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: Parse(%x) = %v, want ErrTruncated or ErrMalformed", name, body, err)
		}
	}
	var a Ack
	if err := a.Parse(ChunkAck, []byte{5, 0, 0, 3, 0}); err != nil || a.Ranges[1] != (AckRange{0, 1}) {
		t.Errorf("ack down to packet 0 = %v, %v", a.Ranges, err)
	}
}

func TestProtocolError(t *testing.T) {
	var err error = &ProtocolError{Code: CodeProtocol, Reason: "bad ack", Err: ErrMalformed}
	if !errors.Is(err, ErrMalformed) {
		t.Error("ProtocolError does not unwrap to its cause")
	}
	if got, want := err.Error(), "wire: protocol violation: bad ack: wire: malformed"; got != want {
		t.Errorf("Error() = %q, want %q", got, want)
	}
}

func TestAllocs(t *testing.T) {
	buf := make([]byte, 0, 1500)
	ack := Ack{Ranges: []AckRange{{90, 100}, {80, 85}}}
	var in Ack
	if n := testing.AllocsPerRun(100, func() {
		b := AppendHeader(buf, 1, false, 1000, 990)
		b, _ = AppendAck(b, &ack, 1200)
		h, _ := ParseHeader(b)
		_, body, _, _ := NextChunk(b[h.Len:])
		if err := in.Parse(ChunkAck, body); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("building and parsing a packet allocates %v times, want 0", n)
	}
}
