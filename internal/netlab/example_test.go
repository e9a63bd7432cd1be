// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package netlab_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/netlab"
)

// A host behind a NAT asks a public server what its address looks like from outside. In a synctest bubble the round
// trip would take no real time.
func Example() {
	lab, err := netlab.New(&netlab.Config{OneWay: 5 * time.Millisecond, Seed: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer lab.Close()

	alice, _ := lab.AddHost(netlab.PortRestricted)
	server, _ := lab.AddHostWith(netlab.HostConfig{NAT: netlab.Public}) // its link adds no delay
	ctx := context.Background()
	a, _ := alice.ListenPacket(ctx, "udp4", netip.MustParseAddrPort("0.0.0.0:4000"))
	s, _ := server.ListenPacket(ctx, "udp4", netip.MustParseAddrPort("0.0.0.0:3478"))

	buf := make([]byte, 1500)
	to := netip.AddrPortFrom(server.PublicAddr(), 3478)
	_, _ = a.WriteTo([]byte("who am I?"), net.UDPAddrFromAddrPort(to))
	_, from, _ := s.ReadFrom(buf)
	_, _ = s.WriteTo([]byte(from.String()), from)
	n, _, _ := a.ReadFrom(buf)

	inside, _ := alice.LocalAddrs()
	fmt.Println("inside: ", netip.AddrPortFrom(inside[0], 4000))
	fmt.Printf("outside: %s\n", buf[:n])
	// Output:
	// inside:  10.0.0.2:4000
	// outside: 5.0.0.1:49152
}
