// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"net"
	"syscall"
	"testing"
)

// A machine that cannot list its addresses for want of a descriptor must keep denying those it knew.
func TestHostAddressesFailOpen(t *testing.T) {
	pc, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	ok(t, err)
	s, err := New(&Config{PacketConns: []net.PacketConn{pc}, RelayIP: relayIP, Secrets: []string{secret}})
	ok(t, err)
	defer s.Close()
	before := len(s.policy.Load().Hosts)
	if before == 0 {
		t.Fatal("no addresses are denied here")
	}
	var lim syscall.Rlimit
	ok(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim))
	low := lim
	low.Cur = 1
	ok(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &low))
	s.lookUpHost() // as watchHost does every 30 s
	ok(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &lim))
	if after := len(s.policy.Load().Hosts); after != before {
		t.Errorf("%d host addresses denied while out of descriptors, want the %d of before: the policy opens this machine", after, before)
	}
}
