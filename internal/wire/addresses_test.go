// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
)

func TestAddressesAreBounded(t *testing.T) {
	var list []Address
	for i := range MaxAddresses + 5 {
		list = append(list, Address{AddressReflexive, netip.AddrPortFrom(netip.IPv6Loopback(), uint16(i+1))})
	}
	_, body, _, _ := NextChunk(AppendAddresses(nil, 1, list))
	if _, got, err := ParseAddresses(nil, body); err != nil || !slices.Equal(got, list[:MaxAddresses]) {
		t.Errorf("of %d addresses %d arrived, %v; want the first %d", len(list), len(got), err, MaxAddresses)
	}
	if n := len(body); n > MinPayload/2 {
		t.Errorf("a full list takes %d bytes, want at most half of the smallest packet", n)
	}
	body = append(body, body[1:21]...)
	if _, _, err := ParseAddresses(nil, body); !errors.Is(err, ErrMalformed) {
		t.Errorf("%d addresses: error is %v, want ErrMalformed", MaxAddresses+1, err)
	}
}

func TestAddressesThatCannotBeTold(t *testing.T) {
	b := AppendAddresses(nil, 1, []Address{
		{AddressHost, netip.AddrPort{}},
		{AddressHost, netip.MustParseAddrPort("[fe80::1%eth0]:1")},
		{AddressHost, netip.MustParseAddrPort("[::ffff:192.0.2.1]:1")},
	})
	_, body, rest, err := NextChunk(b)
	if err != nil || len(rest) > 0 || len(body) != 1 {
		t.Errorf("the chunk is %x, rest %x, %v; want one with a number and nothing else", b, rest, err)
	}
}

func TestBadAddresses(t *testing.T) {
	for name, body := range map[string][]byte{
		"no number": {}, "kind alone": {1, 0}, "family 5": {1, 0, 5, 1, 2, 3, 4, 0, 1}, "short": {1, 0, 4, 1, 2, 3, 4, 0},
		"mapped": append([]byte{1, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, 1, 2, 3, 4, 0, 1),
	} {
		if _, list, err := ParseAddresses(nil, body); err == nil {
			t.Errorf("%s: %x gave %v, want an error", name, body, list)
		}
	}
	if seq, list, err := ParseAddresses(nil, []byte{1, 9, 4, 1, 2, 3, 4, 0, 1}); seq != 1 || len(list) != 0 || err != nil {
		t.Errorf("an unknown kind gave %d %v, %v; want it left out", seq, list, err)
	}
}
