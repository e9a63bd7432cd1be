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
//	// When the application has sent something:
//	m.HandleActive(now)
//
//	// When loss detection has waited in vain for an acknowledgement (a probe timeout):
//	m.HandleStall(now)
//
//	// When addresses, routes or links have changed, or the machine wakes up; and when the peer says where it is:
//	m.HandleLocalChange(now, "wlan0 is gone")
//	m.HandleCandidates(now, candidates)
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
//		case mobility.Alive:     // it does again, by the same path
//		case mobility.Degraded:  // the path is bad: tell the application
//		}
//	}
//
// Data always goes by [Machine.Current]. The rules are:
//
//   - A direct path beats a relayed one. Of direct ones the local network beats a hairpin and IPv6 beats IPv4 if they
//     take hardly longer; else the clearly lower round-trip time wins ([Policy].Hysteresis). A path that loses a quarter
//     of what is sent loses to one that hardly loses anything ([Machine.HandleLosses]).
//   - When the newest packet of the session comes from an unknown address, that address is challenged, and the
//     session follows on the answer: one round trip. Older packets that turn up from elsewhere move nothing, and if
//     the old address still answers the session comes back: the packet may have been a copy.
//   - A path that owes an answer for too long is challenged, and all others with it. The session moves to the best that
//     answers if the current one does not for three round trips (at least 350 ms); at once if the ground has moved.
//   - In an outage the current path is challenged five times a second, so that it is over 250 ms and a round trip after
//     the network has returned.
//   - Until an address has answered, it is sent at most three times what came from it ([Machine.Budget]).
//   - Two idle ends together exchange one ping and its acknowledgement in 17 s, and a few packets an hour more.
//
// [Machine.History] tells what was decided and why.
//
// A [Puncher] is the machine for peers whose NATs let no candidate through: it classifies both NATs ([ClassifyMapping],
// [ClassifyPorts]), and predicts ports or searches for them, while the session goes by a relay
// (docs/PROTOCOL.md, "Hard NATs").
//
// # Limitations
//
// One path carries the data at a time; there is no multipath.
//
// What to do when no path answers ([Dead]) is the driver's to decide: the machine goes on challenging what it knows
// and takes up new candidates, but it cannot invent any.
//
// A [Puncher] gets through hard NATs over IPv4. It does not when one of two NATs with a mapping for each destination
// has random ports, when a NAT has several public addresses and does not keep to one, nor, unless ports are in sequence
// on both sides, with a single STUN address. It learns nothing of filters: what a kinder filter would let in costs a
// prediction or a search all the same if ICE has not been quicker. Ports of random parity are searched like any other.
//
// After two minutes without an answer, and in battery mode from the beginning, challenges are up to 2 s apart.
//
// Data is told from keepalives by how much travels, unless the driver says what it is ([Machine.HandleActive]).
// Round-trip times come from challenges only, at most one in 15 s while all is well, so a path that has become slow is
// noticed late. Battery mode learns what the NATs bear at the price of one silence that was too long, after which a
// message of the peer's may have to be repeated.
//
// Somebody who can copy a peer's packets and always is quicker than they are gets the session for a round trip each
// time, once a second at most and less and less often. If his path is faster by [Policy].Hysteresis, he keeps it.
//
// The two ends choose independently and may use different paths for a while. Nothing breaks by that.
package mobility
