// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"net/netip"
	"slices"
	"testing"
)

// A server that answers by one address family only stays known by that.
func TestNamesForget(t *testing.T) {
	var n names
	v4, v6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	n.put("stun.example", []netip.Addr{v6, v4})
	n.put("other.example", []netip.Addr{v6})
	n.forget(netip.AddrPortFrom(v6, 3478))
	if got := n.get("stun.example"); !slices.Equal(got, []netip.Addr{v4}) {
		t.Errorf("without IPv6 the name stands for %v, want %v", got, v4)
	}
	if got := n.get("other.example"); got != nil {
		t.Errorf("a name with no address that answers stands for %v, want none", got)
	}
	n.forget(netip.AddrPortFrom(v4, 3478))
	if got := n.get("stun.example"); got != nil {
		t.Errorf("the name stands for %v, want none", got)
	}
}
