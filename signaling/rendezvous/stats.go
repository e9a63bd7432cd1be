// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package rendezvous

import (
	"sync/atomic"

	"github.com/seed-98f0d4c2/runnel/signaling/internal/rvproto"
)

// counters only grow.
type counters struct {
	refusedIP, refusedFull, notWebSocket                       atomic.Uint64
	registered, resumed, replaced, expired, unauthorized       atomic.Uint64
	ok, notFound, rateLimited, tooLarge, busy, invalid         atomic.Uint64
	delivered, dropped, minted                                 atomic.Uint64
	limitedMessages, limitedPair, limitedTarget, limitedBuffer atomic.Uint64
	slow, silent, malformed, unknownFrames                     atomic.Uint64
}

// sent counts the result of a send.
func (c *counters) sent(result string) {
	switch result {
	case rvproto.ResultOK:
		c.ok.Add(1)
	case rvproto.ResultNotFound:
		c.notFound.Add(1)
	case rvproto.ResultRateLimited:
		c.rateLimited.Add(1)
	case rvproto.ResultTooLarge:
		c.tooLarge.Add(1)
	case rvproto.ResultBusy:
		c.busy.Add(1)
	default:
		c.invalid.Add(1)
	}
}

// Stats are the state and the counters of a [Server].
type Stats struct {
	Connections   int // WebSockets
	Unregistered  int // of those, how many have not registered yet
	Sessions      int // registered peers, those that vanished and may resume included
	Detached      int // of those, how many have vanished
	BufferedBytes int // payloads kept for them
	Draining      bool

	RefusedIP    uint64 // connections refused because of the limits for their address
	RefusedFull  uint64 // connections refused because of the limits for all, or a shutdown
	NotWebSocket uint64 // requests that were no WebSocket handshake, or of a foreign origin

	Registered   uint64 // registrations with a new session
	Resumed      uint64 // registrations that continued one
	Replaced     uint64 // clients pushed out by another with the same key
	Expired      uint64 // sessions whose client did not come back
	Unauthorized uint64 // registrations with a wrong signature

	// Results of envelopes that clients sent.
	SendOK, SendNotFound, SendRateLimited, SendTooLarge, SendBusy, SendInvalid uint64

	Delivered uint64 // envelopes whose arrival the receiver confirmed
	Dropped   uint64 // envelopes accepted and lost with their session
	Minted    uint64 // credentials made

	// How often a limit applied.
	LimitedMessages, LimitedPair, LimitedTarget, LimitedBuffer uint64

	Slow          uint64 // clients disconnected because they did not take what was sent
	Silent        uint64 // clients disconnected because they did not answer pings
	Malformed     uint64 // clients disconnected because of a malformed frame
	UnknownFrames uint64 // frames of unknown types, ignored
}

// Stats returns a snapshot. It does not stop the server and is cheap.
func (s *Server) Stats() Stats {
	c := &s.counters
	st := Stats{
		BufferedBytes: int(s.buffered.Load()),

		RefusedIP: c.refusedIP.Load(), RefusedFull: c.refusedFull.Load(), NotWebSocket: c.notWebSocket.Load(),

		Registered: c.registered.Load(), Resumed: c.resumed.Load(), Replaced: c.replaced.Load(),
		Expired: c.expired.Load(), Unauthorized: c.unauthorized.Load(),

		SendOK: c.ok.Load(), SendNotFound: c.notFound.Load(), SendRateLimited: c.rateLimited.Load(),
		SendTooLarge: c.tooLarge.Load(), SendBusy: c.busy.Load(), SendInvalid: c.invalid.Load(),

		Delivered: c.delivered.Load(), Dropped: c.dropped.Load(), Minted: c.minted.Load(),

		LimitedMessages: c.limitedMessages.Load(), LimitedPair: c.limitedPair.Load(),
		LimitedTarget: c.limitedTarget.Load(), LimitedBuffer: c.limitedBuffer.Load(),

		Slow: c.slow.Load(), Silent: c.silent.Load(), Malformed: c.malformed.Load(),
		UnknownFrames: c.unknownFrames.Load(),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st.Connections, st.Unregistered = len(s.conns), s.pending
	st.Sessions, st.Detached, st.Draining = len(s.sessions), s.detached, s.draining
	return st
}
