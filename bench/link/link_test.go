// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package link

import (
	"net"
	"net/netip"
	"os"
	"testing"
	"time"
)

// TestLink sends one datagram each way through real devices.
func TestLink(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("network namespaces take root")
	}
	l, err := New(Config{Rate: 20e6, Delay: 5 * time.Millisecond, Queue: 250_000})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var socks [2]*net.UDPConn
	for i := range socks {
		if err := l.Side(i).Do(func() (err error) {
			socks[i], err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(l.Side(i).Addr(), 0)))
			return err
		}); err != nil {
			t.Fatal(err)
		}
		defer socks[i].Close()
	}
	for i, from := range socks {
		to := socks[1-i]
		start := time.Now()
		if _, err := from.WriteToUDPAddrPort([]byte("hello"), to.LocalAddr().(*net.UDPAddr).AddrPort()); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 64)
		to.SetReadDeadline(time.Now().Add(10 * time.Second))
		n, src, err := to.ReadFromUDPAddrPort(buf)
		if err != nil || string(buf[:n]) != "hello" || src.Addr() != l.Side(i).Addr() {
			t.Fatalf("received %q from %v (%v), want hello from %v", buf[:n], src, err, l.Side(i).Addr())
		}
		if took := time.Since(start); took < 5*time.Millisecond {
			t.Errorf("took %v, less than the link's delay", took)
		}
		if s := l.Stats(i); s.Sent != 1 || s.Dropped != 0 || s.Lost != 0 {
			t.Errorf("side %d: %+v, want one packet sent and no other", i, s)
		}
	}
}
