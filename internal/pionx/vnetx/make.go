// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package vnetx

import (
	"net/netip"
	"sync"

	"github.com/pion/transport/v2/vnet"
)

// makeMu is held while a part of a network is made: pion numbers the hardware addresses of the whole process with a
// counter that it does not protect.
var makeMu sync.Mutex

func newRouter(c *vnet.RouterConfig) (*vnet.Router, error) {
	makeMu.Lock()
	defer makeMu.Unlock()
	return vnet.NewRouter(c)
}

// newNet makes a host with one address.
func newNet(addr netip.Addr) (*vnet.Net, error) {
	makeMu.Lock()
	defer makeMu.Unlock()
	return vnet.NewNet(&vnet.NetConfig{StaticIPs: []string{addr.String()}})
}
