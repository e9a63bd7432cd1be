// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/pionx/stunx"
)

// Ten datagrams a second with somebody's source address must not take TCP away from him too: a stream proves its address.
func TestSpoofedDatagramsSilenceStreams(t *testing.T) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	ok(t, err)
	s, err := New(&Config{Listeners: []net.Listener{ln}, RelayIP: relayIP, Secrets: []string{secret}})
	ok(t, err)
	go s.Serve()
	defer s.Close()
	victim := netip.MustParseAddr("127.0.0.1")
	for s.answers.allow(victim, time.Now()) { // what spoofed Binding requests over UDP do
	}
	c, err := net.Dial("tcp4", ln.Addr().String())
	ok(t, err)
	defer c.Close()
	_, msg := stunx.NewBinding()
	_, err = c.Write(msg)
	ok(t, err)
	ok(t, c.SetReadDeadline(time.Now().Add(2*time.Second)))
	if _, err := c.Read(make([]byte, 100)); err != nil {
		t.Errorf("no answer on TCP: %v", err)
	}
}
