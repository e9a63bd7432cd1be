// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"context"
	"sync"
)

// A Gate is an unlocked gate whose condition does not hold. It must not be copied after use.
type Gate struct {
	mu      sync.Mutex
	set     bool
	waiters int
	wake    chan struct{} // one token: somebody who waits should look again. Made by the first waiter.
}

// Lock locks the gate whether or not the condition holds.
func (g *Gate) Lock() { g.mu.Lock() }

// Unlock unlocks the gate and states whether the condition holds from now on.
func (g *Gate) Unlock(set bool) {
	g.set = set
	if set && g.waiters > 0 {
		// If a token is there already, its taker finds the condition true and passes the word on when it unlocks.
		select {
		case g.wake <- struct{}{}:
		default:
		}
	}
	g.mu.Unlock()
}

// WaitAndLock waits until the condition holds and locks the gate. If the context ends first, it returns the context's
// error with the gate unlocked. If the condition holds already, it does not look at the context.
func (g *Gate) WaitAndLock(ctx context.Context) error {
	g.mu.Lock()
	for !g.set {
		if g.wake == nil {
			g.wake = make(chan struct{}, 1)
		}
		g.waiters++
		g.mu.Unlock()
		var err error
		select {
		case <-g.wake:
		default:
			select {
			case <-g.wake:
			case <-ctx.Done():
				err = ctx.Err()
			}
		}
		g.mu.Lock()
		g.waiters--
		if err != nil && !g.set {
			g.mu.Unlock()
			return err
		}
	}
	return nil
}
