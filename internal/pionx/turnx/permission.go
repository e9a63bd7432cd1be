// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package turnx

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/pionx/stunx"
)

const (
	// MaxPermissions is how many peer addresses an allocation permits at once.
	MaxPermissions = 256

	permissionLife    = 5 * time.Minute // RFC 8656 §9
	permissionRefresh = 4 * time.Minute // leaves a minute for retries
	permissionRetry   = 5 * time.Second // after an unanswered request
	permissionLater   = time.Minute     // after one that the server has no room for now
)

// permission is what we want and have for one peer address. Allocation.mu guards it.
type permission struct {
	busy    bool      // a transaction is under way
	until   time.Time // the server forgets it then; zero: not granted
	next    time.Time // when to ask (again)
	refused error     // the server's verdict: not asked again while wanted, unless next says so
}

// Permit lets the given addresses exchange packets with this endpoint through the relay, and keeps it so until
// [Allocation.Forbid]. It returns at once; packets given to WriteTo afterwards leave right behind the request, without
// waiting for its answer. Repeating it for an address that the server refused asks again.
//
// Permissions go by address, not port (RFC 8656 §9). More than [MaxPermissions] are not asked for: WriteTo then says
// ErrNoPermission, and Stats counts them.
func (a *Allocation) Permit(addrs ...netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, addr := range addrs {
		addr = addr.Unmap()
		if p := a.perms[addr]; p != nil && p.refused == nil || a.quiet || !addr.IsValid() {
			continue
		}
		if len(a.perms) >= MaxPermissions && a.perms[addr] == nil {
			a.stats.overPeers.Add(1)
			continue
		}
		a.perms[addr] = &permission{busy: true}
		a.fresh = append(a.fresh, addr)
	}
	if len(a.fresh) > 0 {
		wake(a.kick)
	}
}

// Forbid takes the addresses back: at once on this side, on the server when its permission runs out, within five
// minutes (TURN has no message to withdraw one).
func (a *Allocation) Forbid(addrs ...netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, addr := range addrs {
		delete(a.perms, addr.Unmap())
	}
}

// askFresh sends the requests that Permit left for the writer and returns when they have left, not when they are
// answered. Only the writer calls it.
func (a *Allocation) askFresh(addrs []netip.Addr) {
	for _, addr := range addrs {
		left := make(chan struct{})
		a.wg.Go(func() { a.ask(addr, func() { close(left) }) })
		<-left
	}
}

// ask performs one CreatePermission exchange. One address per request: servers refuse a request as a whole.
func (a *Allocation) ask(addr netip.Addr, sent func()) {
	err := a.transact("permission", stunx.CreatePermission, sent, func(b *stunx.Builder) {
		b.AddXORAddr(stunx.XORPeerAddress, netip.AddrPortFrom(addr, 0))
	})

	now := time.Now()
	a.mu.Lock()
	p := a.perms[addr]
	if p == nil { // forbidden meanwhile
		a.mu.Unlock()
		return
	}
	p.busy = false
	var code *CodeError
	switch {
	case err == nil:
		p.until, p.next, p.refused = now.Add(permissionLife), now.Add(permissionRefresh), nil
	case errors.As(err, &code):
		p.refused, p.next = fmt.Errorf("%w: %w", ErrNoPermission, err), time.Time{}
		if code.Code == 508 { // RFC 8656 §19: Insufficient Capacity
			p.next = now.Add(permissionLater)
		}
	default:
		p.next = now.Add(permissionRetry)
	}
	quiet := a.quiet
	a.mu.Unlock()
	if err != nil && !quiet {
		a.stats.refused.Add(1)
		a.log.Debug("relay gave no permission", slog.String("peer", addr.String()), slog.Any("err", err))
	}
	wake(a.tick)
}

// duePermissions starts what is due and returns when the next one will be. a.mu is held.
func (a *Allocation) duePermissions(now time.Time) (next time.Time) {
	for addr, p := range a.perms {
		switch {
		case p.busy || p.refused != nil && p.next.IsZero():
		case !p.next.After(now):
			p.busy = true
			a.wg.Go(func() { a.ask(addr, nil) })
		default:
			next = earliest(next, p.next)
		}
	}
	return next
}

// earliest returns the earlier of two times, of which zero means never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// wake makes the reader of a channel of capacity one look again.
func wake(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
