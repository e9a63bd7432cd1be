// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package portmap

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"github.com/libp2p/go-netroute"
)

// A Gateway is the router of the default route of one address family.
type Gateway struct {
	Addr  netip.Addr // with a zone if it is link-local
	Local netip.Addr // this host's address on the way to the internet
}

// The way to the internet is that to any address there. Nothing is sent to these.
var (
	far4 = netip.MustParseAddrPort("1.1.1.1:9")
	far6 = netip.MustParseAddrPort("[2a00::1]:9")
)

// SystemGateway asks the operating system. The error is [ErrNoGateway] or contains it.
func SystemGateway(ctx context.Context, v6 bool) (Gateway, error) {
	far, network := far4, "udp4"
	if v6 {
		far, network = far6, "udp6"
	}
	r, err := netroute.New()
	if err != nil {
		return Gateway{}, fmt.Errorf("%w: %w", ErrNoGateway, err)
	}
	iface, ip, _, err := r.Route(far.Addr().AsSlice())
	if err != nil {
		return Gateway{}, fmt.Errorf("%w: %w", ErrNoGateway, err)
	}
	gw, ok := netip.AddrFromSlice(ip)
	if !ok || gw.IsUnspecified() { // a point-to-point link: nobody to ask
		return Gateway{}, ErrNoGateway
	}
	gw = gw.Unmap()
	if gw.Is6() && gw.IsLinkLocalUnicast() && iface != nil {
		gw = gw.WithZone(iface.Name)
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, network, far.String()) // chooses an address and sends nothing
	if err != nil {
		return Gateway{}, fmt.Errorf("%w: %w", ErrNoGateway, err)
	}
	local := conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap().WithZone("")
	_ = conn.Close()
	return Gateway{Addr: gw, Local: local}, nil
}
