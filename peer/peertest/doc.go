// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

// Package peertest is a virtual internet for tests of programs that use package peer: endpoints behind NATs of every
// kind, a rendezvous and a relay, all in one process, as net/http/httptest is for package http.
//
// In a testing/synctest bubble it runs in virtual time, so that a test over slow links, or of ten idle minutes,
// takes milliseconds:
//
//	func TestGreeting(t *testing.T) {
//		synctest.Test(t, func(t *testing.T) {
//			net := peertest.New(t, &peertest.Config{OneWay: 20 * time.Millisecond})
//			alice := net.Endpoint(peertest.PortRestricted, nil)
//			bob := net.Endpoint(peertest.Symmetric, nil)
//			s, err := alice.Dial(t.Context(), bob.ID())
//			...
//		})
//	}
//
// The *testing.T that New gets must be that of the bubble.
//
// [Host.Condition] and [Network.Condition] make links bad while a test runs: losses in bursts, a narrow bandwidth with a
// queue, reordering, twins. [Host.SetDown] cuts them and [Host.Rebind] restarts a NAT.
//
// Everything is closed when the test ends.
//
// # Limitations
//
// The network carries UDP over IPv4 only. The rendezvous is an in-memory [signaling.Hub], not the server.
package peertest
