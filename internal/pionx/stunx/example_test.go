// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package stunx_test

import (
	"fmt"
	"net/netip"

	"github.com/seed-98f0d4c2/runnel/internal/pionx/stunx"
)

func ExampleParseBinding() {
	tx, _ := stunx.NewBinding() // the request goes to a server, which answers
	answer := stunx.NewBuilder(nil, stunx.Binding, stunx.Success, tx).
		AddXORAddr(stunx.XORMappedAddress, netip.MustParseAddrPort("198.51.100.7:4711")).Bytes()

	got, mapped, err := stunx.ParseBinding(answer)
	fmt.Println(got == tx, mapped, err)
	// Output: true 198.51.100.7:4711 <nil>
}
