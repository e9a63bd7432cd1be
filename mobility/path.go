// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mobility

import (
	"fmt"
	"net/netip"
	"time"
)

// Kind says how packets travel on a path.
type Kind uint8

const (
	Direct  Kind = iota // from our socket to the peer's
	Relayed             // through a relay, ours or the peer's or both
)

// String returns "direct" or "relayed".
func (k Kind) String() string {
	switch k {
	case Direct:
		return "direct"
	case Relayed:
		return "relayed"
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// A Key names a path: the local binding it leaves by, and where it goes. Keys are compared with ==; IPv4 addresses
// must not be in IPv4-mapped form.
type Key struct {
	Via    int32 // 0: the endpoint's own sockets; n > 0: its n-th relay allocation; n < 0: an extra socket
	Remote netip.AddrPort
}

// Kind returns what the key alone tells: a path by a relay allocation of ours is relayed, any other seems direct.
// (It is relayed all the same if Remote is the peer's address at a relay; a [Candidate] says so.)
func (k Key) Kind() Kind {
	if k.Via > 0 {
		return Relayed
	}
	return Direct
}

// String returns the remote address, and the relay allocation if there is one.
func (k Key) String() string {
	switch {
	case k.Via > 0:
		return fmt.Sprintf("%v via relay %d", k.Remote, k.Via)
	case k.Via < 0:
		return fmt.Sprintf("%v via socket %d", k.Remote, -k.Via)
	}
	return k.Remote.String()
}

// A Candidate is a path that may work.
type Candidate struct {
	Key
	Kind Kind
}

// A Path is a snapshot of what the machine knows about a path.
type Path struct {
	Key
	Kind         Kind
	RTT          time.Duration // smoothed over the answers to challenges; zero if never measured
	Loss         float64       // of what was sent by it lately, 0 to 1: challenges, and what [Machine.HandleLosses] says
	Validated    bool          // a challenge has been answered, and none given up since
	Current      bool          // the session sends by this path
	LastReceived time.Time     // when an authentic packet last came by it; zero if none did
	BytesIn      uint64        // received by this path
	BytesOut     uint64        // sent by this path
}

// String returns kind and key, as in "direct 192.0.2.1:4000".
func (p Path) String() string { return p.Kind.String() + " " + p.Key.String() }

// A path is the state of one path.
type path struct {
	Candidate
	vouched bool // named by a candidate: it may be challenged though nothing came from it
	place   int  // in the peer's latest list of candidates, from 1; 0: not there
	proven  bool // a challenge by it has been answered, once
	valid   bool // proven, and no probe given up since
	rtt     time.Duration
	minRTT  time.Duration // the lowest measured since the path became current, or zero
	loss    float64

	created, lastReceived, lastNewest, lastSent, lastChallenge time.Time
	lastAnswer, lastAsked                                      time.Time // an answer, and when it had been asked for

	// in and out are totals. The budget of a path that is not valid is grant + 3·recv − sent − queued, where queued
	// is for actions that have not been polled.
	in, out                   uint64
	grant, recv, sent, queued int

	waiting     time.Time     // since when something sent by the current path waits for an answer; zero: nothing does
	followed    time.Time     // when the newest packet last came by this path; zero: not to be followed
	quietBefore time.Duration // how long nothing had travelled by the current path then

	probe      probe
	challenges [keptChallenges]challenge // the latest; unused ones have a zero time
	nextSlot   int

	standbyAt time.Time // when to challenge it next while it is not current
	misses    int       // probes given up in a row
	failures  int       // times it died while it was current, lately
	heldUntil time.Time // do not choose it before, because it died
}

func (p *path) snapshot(current bool) Path {
	return Path{
		Key: p.Key, Kind: p.Kind, RTT: p.rtt, Loss: p.loss, Validated: p.valid, Current: current,
		LastReceived: p.lastReceived, BytesIn: p.in, BytesOut: p.out,
	}
}

func (p *path) String() string { return p.Kind.String() + " path " + p.Key.String() }
