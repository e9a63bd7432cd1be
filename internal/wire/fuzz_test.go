// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"
)

func FuzzParseHeader(f *testing.F) {
	f.Add(AppendHeader(nil, 1, true, 77, -1))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParseHeader(b)
		if err != nil {
			return
		}
		if h.Len > len(b) || h.PNLen < 1 || h.PNLen > 4 || h.Len != 9+h.PNLen {
			t.Fatalf("ParseHeader(%x) = %+v", b, h)
		}
		pn := DecodePN(int64(h.SID>>2), h.PN, h.PNLen)
		if pn&(1<<(8*h.PNLen)-1) != h.PN {
			t.Fatalf("DecodePN gave %#x for truncated %#x", pn, h.PN)
		}
	})
}

func FuzzParseHandshake(f *testing.F) {
	f.Add(AppendHandshake(nil, 1, []byte("dtls"), 40))
	f.Fuzz(func(t *testing.T, b []byte) {
		sid, dtls, err := ParseHandshake(b)
		if err != nil {
			return
		}
		if got := AppendHandshake(nil, sid, dtls, len(b)); !bytes.Equal(got, b) {
			t.Fatalf("re-encoding %x gave %x", b, got)
		}
	})
}

func FuzzNextChunk(f *testing.F) {
	f.Add(AppendClose(AppendChunk([]byte{0}, ChunkPing, nil), Close{Code: 1, Reason: "r"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		for len(b) > 0 {
			typ, body, rest, err := NextChunk(b)
			if err != nil {
				return
			}
			if len(rest) >= len(b) || len(body) > len(b) {
				t.Fatalf("NextChunk(%x) made no progress: %v %x %x", b, typ, body, rest)
			}
			b = rest
		}
	})
}

func FuzzParseAck(f *testing.F) {
	f.Add([]byte{100, 0, 3, 1, 0, 10, 5})
	f.Fuzz(func(t *testing.T, body []byte) {
		var a, again Ack
		if a.Parse(ChunkAck, body) != nil {
			return
		}
		for i, r := range a.Ranges {
			if r.Start >= r.End || i > 0 && r.End >= a.Ranges[i-1].Start {
				t.Fatalf("Parse(%x) gave bad ranges %v", body, a.Ranges)
			}
		}
		b, ok := AppendAck(nil, &a, 1<<20)
		if !ok {
			t.Fatalf("no room for %v", a)
		}
		_, body, _, _ = NextChunk(b)
		if err := again.Parse(ChunkAck, body); err != nil || !slices.Equal(a.Ranges, again.Ranges) || a.Delay != again.Delay {
			t.Fatalf("round trip of %v gave %v, %v", a, again, err)
		}
	})
}

func FuzzParseClose(f *testing.F) {
	f.Add([]byte("\x01\x05reason"))
	f.Fuzz(func(t *testing.T, body []byte) {
		c, err := ParseClose(body)
		if err != nil {
			return
		}
		_, body, _, _ = NextChunk(AppendClose(nil, c))
		if again, err := ParseClose(body); err != nil || again != c {
			t.Fatalf("round trip of %+v gave %+v, %v", c, again, err)
		}
	})
}

func FuzzParseAddresses(f *testing.F) {
	f.Add(AppendAddresses(nil, 7, []Address{
		{AddressHost, netip.MustParseAddrPort("10.0.0.1:1")}, {AddressRelayed, netip.MustParseAddrPort("[2001:db8::1]:2")},
	})[2:])
	f.Fuzz(func(t *testing.T, body []byte) {
		seq, list, err := ParseAddresses(nil, body)
		if err != nil {
			return
		}
		if len(list) > MaxAddresses {
			t.Fatalf("ParseAddresses(%x) gave %d addresses", body, len(list))
		}
		_, body, _, _ = NextChunk(AppendAddresses(nil, seq, list))
		if s, again, err := ParseAddresses(nil, body); err != nil || s != seq || !slices.Equal(again, list) {
			t.Fatalf("round trip of %d %v gave %d %v, %v", seq, list, s, again, err)
		}
	})
}

func FuzzParsePunch(f *testing.F) {
	for _, p := range punches {
		_, body, _, _ := NextChunk(AppendPunch(nil, &p))
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		p, err := ParsePunch(body)
		if err != nil {
			return
		}
		_, body, _, _ = NextChunk(AppendPunch(nil, &p))
		if again, err := ParsePunch(body); err != nil || again != p {
			t.Fatalf("round trip of %+v gave %+v, %v", p, again, err)
		}
	})
}
