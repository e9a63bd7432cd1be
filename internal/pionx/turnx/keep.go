// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package turnx

import (
	"log/slog"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/pionx/stunx"
)

// granted records what the server says about the allocation's lifetime. The tap calls it with its own lock held.
func (a *Allocation) granted(life time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if life <= 0 { // the answer to our own Close
		return
	}
	a.renewed = time.Now()
	a.lifetime, a.expires = life, a.renewed.Add(life)
	wake(a.tick)
}

// keep is the keeper: it renews permissions, channels and the allocation, and ends the latter when its time is over.
//
// The library refreshes the allocation at half its lifetime and shrugs off a failure. The keeper therefore asks as well
// when three eighths of the lifetime are left, and again each sixteenth, until there is an answer or no time left.
func (a *Allocation) keep() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var asking chan struct{} // closed when our own refresh is over; nil when none runs
	for {
		select {
		case <-a.done:
			return
		case <-a.tick:
		case <-timer.C:
		case <-asking:
			asking = nil
		}
		now := time.Now()
		a.mu.Lock()
		if a.quiet {
			a.mu.Unlock()
			<-a.done
			return
		}
		expires, life := a.expires, a.lifetime
		next := earliest(earliest(expires, a.duePermissions(now)), a.dueChannels(now))
		a.mu.Unlock()

		if !expires.After(now) {
			a.end(ErrExpired)
			return
		}
		refresh := expires.Add(-life * 3 / 8)
		if asking == nil && !refresh.After(now) {
			c := make(chan struct{})
			asking = c
			a.wg.Go(func() {
				defer close(c)
				a.refresh(life / 16)
			})
		} else if asking == nil {
			next = earliest(next, refresh)
		}
		timer.Reset(max(time.Until(next), time.Millisecond))
	}
}

// refresh asks once and rests, so that an unreachable server is not asked without pause.
func (a *Allocation) refresh(rest time.Duration) {
	err := a.transact("refresh", stunx.Refresh, nil, func(*stunx.Builder) {})
	if err == nil {
		return
	}
	a.log.Debug("relay did not confirm refresh", slog.Any("err", err))
	timer := time.NewTimer(rest)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-a.done:
	}
}

// Check asks the server, once, whether the allocation is still there: it belongs to the address that we had when it was
// made. If it is gone the answer ends it. Check returns at once and may be repeated, for a request may be lost;
// [Allocation.Confirmed] tells of the answer.
func (a *Allocation) Check() {
	realm, nonce, key := a.tap.auth()
	if key == nil || a.Err() != nil {
		return
	}
	b := stunx.NewBuilder(make([]byte, 0, 512), stunx.Refresh, stunx.Request, stunx.NewTransaction())
	b.Add(stunx.UsernameAttr, []byte(a.user)).Add(stunx.Realm, realm).Add(stunx.Nonce, nonce)
	_, _ = a.tap.WriteTo(b.AddIntegrity(key).AddFingerprint().Bytes(), a.to) // lost: the next one may arrive
}

// Confirmed returns when the server last said that the allocation is there.
func (a *Allocation) Confirmed() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.renewed
}

// Abandon ends the allocation without telling the server, which cannot be told any more: the address that it was made
// from is gone. It returns at once; Close must be called all the same.
func (a *Allocation) Abandon() { a.end(ErrBroken) }
