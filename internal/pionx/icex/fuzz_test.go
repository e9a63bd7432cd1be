// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package icex_test

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"

	"github.com/seed-98f0d4c2/runnel/internal/pionx/icex"
)

func FuzzHandleSTUN(f *testing.F) {
	m := icex.NewMux(func([]byte, netip.AddrPort) error { return nil },
		func() []netip.AddrPort { return []netip.AddrPort{netip.MustParseAddrPort("10.0.0.1:5")} })
	a, err := icex.NewAgent(&icex.Config{Mux: m, Controlling: true})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = a.Close() })
	if err := a.Start("abcd", strings.Repeat("p", 22)); err != nil {
		f.Fatal(err)
	}
	ufrag, _ := a.Credentials()
	f.Add(binding(0x0001, ":abcd"))
	f.Add(binding(0x0101, ""))
	f.Fuzz(func(_ *testing.T, b []byte) {
		// Make most requests ours, so that the library gets to parse them. It must not panic.
		if i := bytes.IndexByte(b, ':'); i == 24 && len(b) > 24+1+len(ufrag) {
			copy(b[24:], ufrag+":")
		}
		m.HandleSTUN(b, netip.MustParseAddrPort("1.2.3.4:5"))
	})
}
