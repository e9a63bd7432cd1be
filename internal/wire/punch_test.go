// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/hex"
	"errors"
	"net/netip"
	"testing"
)

var punches = []Punch{
	{
		Phase: PunchReady, Attempt: 2, Round: 1, Mapping: 2, Ports: 2, Stride: -2, Low: 0x400, High: 0xffff, Count: 4,
		Addr: netip.MustParseAddrPort("192.0.2.1:4660"),
	},
	{Phase: PunchHello, Attempt: 1, Stride: MaxPunchStride, Count: MaxPunchCount, Addr: netip.MustParseAddrPort("[2001:db8::1]:1")},
	{Phase: PunchStop, Attempt: 300, Stride: -MaxPunchStride},
}

func TestPunchGolden(t *testing.T) {
	const want = "0b" + "12" + "03" + "02" + "01" + "02" + "02" + "03" + "0400" + "ffff" + "04" + "04" + "c0000201" + "1234"
	if got := hex.EncodeToString(AppendPunch(nil, &punches[0])); got != want {
		t.Errorf("encoded as %s, want %s by docs/PROTOCOL.md", got, want)
	}
	for _, p := range punches {
		typ, body, rest, err := NextChunk(AppendPunch(nil, &p))
		if typ != ChunkPunch || len(rest) > 0 || err != nil {
			t.Fatalf("chunk %v, rest %x, %v", typ, rest, err)
		}
		if got, err := ParsePunch(body); err != nil || got != p {
			t.Errorf("got %+v, %v; want %+v", got, err, p)
		}
		for n := range body { // every field is needed
			if _, err := ParsePunch(body[:n]); !errors.Is(err, ErrTruncated) {
				t.Errorf("%d of %d bytes: %v, want that they are too few", n, len(body), err)
			}
		}
	}
	if ChunkPunch.AckEliciting() {
		t.Error("PUNCH asks for an acknowledgement: it is repeated instead")
	}
}

func TestPunchMalformed(t *testing.T) {
	for name, b := range map[string]string{
		"number":         "03" + "c000000100000001" + "010202" + "03" + "0400ffff" + "0400",
		"stride":         "0302010202" + "4801" + "0400ffff" + "0400",
		"count":          "0302010202" + "03" + "0400ffff" + "5001" + "00",
		"family":         "0302010202" + "03" + "0400ffff" + "0405c00002011234",
		"mapped address": "0302010202" + "03" + "0400ffff" + "0406" + "00000000000000000000ffffc0000201" + "1234",
		"excess":         "0302010202" + "03" + "0400ffff" + "0400" + "00",
	} {
		body, err := hex.DecodeString(b)
		if err != nil {
			t.Fatal(err)
		}
		if p, err := ParsePunch(body); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %+v, %v; want it refused", name, p, err)
		}
	}
}
