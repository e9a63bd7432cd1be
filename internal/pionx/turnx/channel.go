// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package turnx

import (
	"encoding/binary"
	"log/slog"
	"net/netip"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/pionx/stunx"
)

const (
	// MaxChannels is how many peers get a channel, which costs 4 bytes per packet where an indication costs 36. Peers
	// beyond it are served by indications.
	MaxChannels = 128

	minChannel = 0x4000 // RFC 8656 §12
	maxChannel = 0x4FFF

	channelLife    = 10 * time.Minute // RFC 8656 §12
	channelRefresh = 8 * time.Minute
	channelRest    = 5 * time.Minute // an expired number must not get another peer sooner (RFC 8656 §12)
	channelRetry   = time.Minute
)

// channel is a binding between a number and a peer. Allocation.mu guards it.
type channel struct {
	number uint16
	peer   netip.AddrPort
	bound  bool // the server confirmed: data may use it
	busy   bool
	used   bool      // carried data since the last refresh; idle ones are let go
	until  time.Time // the server's binding ends; zero: never had one
	next   time.Time
}

// channelFor returns the channel that data to the peer may use, or nil, and sees to it that there will be one. a.mu is
// held.
func (a *Allocation) channelFor(peer netip.AddrPort, now time.Time) *channel {
	c := a.byPeer[peer]
	if c == nil {
		if c = a.newChannel(peer, now); c == nil {
			return nil
		}
	}
	c.used = true
	if !c.busy && !c.next.After(now) {
		a.bind(c)
	}
	if !c.bound || !c.until.After(now) {
		return nil
	}
	return c
}

// newChannel picks a number that nobody uses or has used lately. a.mu is held.
func (a *Allocation) newChannel(peer netip.AddrPort, now time.Time) *channel {
	if len(a.byPeer) >= MaxChannels {
		return nil
	}
	for range maxChannel - minChannel + 1 {
		n := a.nextChan
		if a.nextChan++; a.nextChan > maxChannel {
			a.nextChan = minChannel
		}
		if a.byNumber[n] == nil {
			c := &channel{number: n, peer: peer, next: now}
			a.byPeer[peer], a.byNumber[n] = c, c
			return c
		}
	}
	return nil
}

// bind starts a ChannelBind exchange. a.mu is held.
func (a *Allocation) bind(c *channel) {
	c.busy, c.used = true, false
	a.wg.Go(func() {
		err := a.transact("channel", stunx.ChannelBind, nil, func(b *stunx.Builder) {
			var v [4]byte
			binary.BigEndian.PutUint16(v[:], c.number)
			b.Add(stunx.ChannelNumber, v[:]).AddXORAddr(stunx.XORPeerAddress, c.peer)
		})
		now := time.Now()
		a.mu.Lock()
		c.busy = false
		if err == nil {
			c.bound, c.until, c.next = true, now.Add(channelLife), now.Add(channelRefresh)
		} else {
			c.next = now.Add(channelRetry)
		}
		quiet := a.quiet
		a.mu.Unlock()
		if err != nil && !quiet {
			a.log.Debug("relay bound no channel", slog.String("peer", c.peer.String()), slog.Any("err", err))
		}
		wake(a.tick)
	})
}

// dueChannels refreshes channels in use, retires the others, and returns when to look again. a.mu is held.
func (a *Allocation) dueChannels(now time.Time) (next time.Time) {
	for n, c := range a.byNumber {
		if c.busy {
			continue
		}
		live := a.byPeer[c.peer] == c
		switch {
		case live && c.used && a.perms[c.peer.Addr()] != nil && !c.next.After(now):
			a.bind(c)
			continue
		case live && !c.until.After(now) && !c.next.After(now): // expired or never bound, and idle
			delete(a.byPeer, c.peer)
			live = false
		}
		if !live && !c.until.Add(channelRest).After(now) {
			delete(a.byNumber, n)
			continue
		}
		switch {
		case !live:
			next = earliest(next, c.until.Add(channelRest))
		case c.next.After(now):
			next = earliest(next, c.next)
		default: // idle: look again when it ends
			next = earliest(next, c.until)
		}
	}
	return next
}
