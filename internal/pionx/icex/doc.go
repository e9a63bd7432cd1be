// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

// Package icex finds a direct path between two peers: connectivity checks of ICE (RFC 8445) by many agents over the
// few sockets of one endpoint.
//
//	mux := icex.NewMux(endpoint.writeTo, endpoint.localAddrs) // one per endpoint, for both address families
//	// the endpoint's readers: if mux.HandleSTUN(b, from) { continue }
//
//	agent, err := icex.NewAgent(&icex.Config{
//		Mux:         mux,
//		Controlling: true,
//		OnSelected:  func(remote netip.AddrPort) { ... },
//	})
//	defer agent.Close()
//	ufrag, pwd := agent.Credentials()                 // to the peer, by signaling
//	err = agent.Start(answer.Ufrag, answer.Pwd)       // from the peer
//	err = agent.AddRemote(candidate.Addr, "srflx")    // as they trickle in, before or after Start
//
// An agent is a scaffold: it costs a few goroutines and packets, and is closed as soon as the session has taken over
// the path that it found.
//
// # Demultiplexing
//
// A connectivity check is for the agent whose user fragment it names first (RFC 8445 §7.2.2). A response is for the
// agent that sent the request with that transaction ID, if it comes from where the request went. Nothing else is
// ours, and nothing reaches the library that stunx.Sane refuses. Remote addresses play no part, so any number of
// sessions with the same peer address do not disturb each other.
//
// # Candidates
//
// Locally an agent has one host candidate per address family, whatever the number of interfaces: all checks leave by
// the same socket, and the kernel chooses the source address. Which addresses of its own a peer announces is not the
// agent's business; server-reflexive ones need nothing here because checks to the peer leave from their base. Remote
// candidates are capped and taken as they are: what may be probed must be decided before. Relayed candidates do not
// belong here, a relay is a path of its own.
//
// # Pace
//
// The library checks all pairs at one fixed interval. Here it is a calm one; for the first half second after Start or
// after a new candidate the agent is nudged every 20 ms, and once more at the moment when a response arrives, so that
// a controlling agent nominates at once. With the candidates of both sides known, a pair is selected after two round
// trips.
//
// # Limitations
//
// Aggressive speed, not RFC 8445 §14 pacing: up to twenty remote candidates are checked at once. The first pair that
// works is nominated even if a better one might follow a moment later; finding the best path is the work of what comes
// after ICE. A nominated pair that dies before the nomination is confirmed is not given up. No TCP, no mDNS
// candidates, no IPv6 zones, no restart: make another agent.
package icex
