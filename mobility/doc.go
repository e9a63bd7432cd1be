// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

// Package mobility decides which path a session uses and when to change it.
//
// A path is a local binding (the endpoint's own sockets, or one of its relay allocations) and a remote address. A
// session begins on the path that carried its handshake. From then on a [Machine] keeps it alive: it tries better
// paths, follows a peer whose address changes, notices when a path dies, and keeps a relayed path warm to fall back
// on. Every path is proven by a challenge that the peer must answer before the session moves to it
// (docs/PROTOCOL.md, "Paths"; after RFC 9000 §8.2 and §9).
//
// The machine is pure: it has no clock, socket or goroutine. Its driver, package peer, tells it what happens and
// does what it asks:
//
//	m := mobility.New(now, first, &mobility.Config{Rand: func(b []byte) { rand.Read(b) }})
//
//	// For every authentic packet, in this order and with the same time:
//	m.HandleReceived(now, key, size, newest)
//	m.HandleChallenge(now, key, data) // if it holds a PATH_CHALLENGE
//	m.HandleResponse(now, key, data)  // if it holds a PATH_RESPONSE
//
//	// When loss detection has waited in vain for an acknowledgement (a probe timeout):
//	m.HandleStall(now)
//
//	// After every call, drain the actions; then sleep until m.NextTimeout() and call m.HandleTimeout.
//	for {
//		a, ok := m.Poll(now)
//		if !ok {
//			break
//		}
//		switch a.Op {
//		case mobility.Challenge: // send PATH_CHALLENGE(a.Data) by a.Path.Key, then m.HandleSent
//		case mobility.Response:  // send PATH_RESPONSE(a.Data) by a.Path.Key, then m.HandleSent
//		case mobility.Ping:      // send PING by a.Path.Key, then m.HandleSent
//		case mobility.Switch:    // send by a.Path.Key from now on; reset congestion state; log a.Why
//		case mobility.Dead:      // nothing answers any more: look for new candidates; log a.Why
//		}
//	}
//
// Data always goes by [Machine.Current]. The rules are:
//
//   - A direct path beats a relayed one. Among paths of one kind the one with the clearly lower round-trip time
//     wins ([Policy].Hysteresis).
//   - When the newest packet of the session comes from an unknown address, that address is challenged, and the
//     session follows on the answer: one round trip. Older packets that turn up from elsewhere move nothing.
//   - A path that owes an answer for too long is challenged. After three challenges without an answer the session
//     moves to the best path that did answer meanwhile; a relayed path is kept warm for this.
//   - Until an address has answered, it is sent at most three times what came from it ([Machine.Budget]).
//
// # Limitations
//
// One path carries the data at a time; there is no multipath.
//
// What to do when no path answers ([Dead]) is the driver's to decide: the machine goes on challenging what it knows
// and takes up new candidates, but it cannot invent any. Port prediction for hard NATs does not exist.
//
// The two ends choose independently and may use different paths for a while. Nothing breaks by that.
package mobility
