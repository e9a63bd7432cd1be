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
// queue, reordering, twins.
//
// A host is at a [Site], by default an IPv4 address behind a NAT of its kind, and the site can change while sessions stand.
// What the endpoint is told by the operating system of a real host it is told here:
//
//	Host.Rebind       the NAT restarts: other ports                  not told
//	Host.Renumber     the provider gives another public address      told if the host has it itself
//	Host.MoveTo       another network: another NAT, other addresses  told
//	Host.Detach       no network, until Attach or MoveTo             told
//	Host.AddUplink    a second network, and SetUplink to use it      told
//	Host.SetDown      packets vanish, the rendezvous is there        not told
//	Host.SetOffline   packets vanish, and so does the rendezvous     not told
//
// [Network.KillRelay] ends a relay, and Network.Hub().SetDown(true) the rendezvous.
//
// Everything is closed when the test ends.
//
// # Limitations
//
// The rendezvous is an in-memory [signaling.Hub], not the server: it is reached also from a site that blocks UDP, and a host
// that moves stays connected to it. Relayed addresses are of IPv4.
package peertest
