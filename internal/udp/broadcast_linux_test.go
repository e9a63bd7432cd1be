// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package udp_test

import (
	"errors"
	"net/netip"
	"syscall"
	"testing"

	"github.com/seed-98f0d4c2/runnel/internal/udp"
)

// A peer that names the broadcast address of a network has not every host of it sent to.
func TestNoBroadcast(t *testing.T) {
	pc, err := udp.Listen(t.Context(), "udp4", netip.AddrPortFrom(netip.IPv4Unspecified(), 0))
	if err != nil {
		t.Fatal(err)
	}
	c := udp.New(pc)
	defer c.Close()
	for _, to := range []string{"127.255.255.255:9", "255.255.255.255:9"} {
		err := c.WriteTo([]byte{0xc0}, netip.MustParseAddrPort(to))
		if !errors.Is(err, syscall.EACCES) && !errors.Is(err, syscall.ENETUNREACH) {
			t.Errorf("a datagram to %v: %v, want it refused", to, err)
		}
		if udp.Dead(err) {
			t.Errorf("%v is taken for the end of the socket", err)
		}
	}
}
