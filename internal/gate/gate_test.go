// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestWaitUntilSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Gate
		done := make(chan error)
		go func() {
			err := g.WaitAndLock(t.Context())
			g.Unlock(false)
			done <- err
		}()
		synctest.Wait()
		g.Lock()
		g.Unlock(false)
		synctest.Wait()
		select {
		case err := <-done:
			t.Fatalf("WaitAndLock returned %v before the condition held", err)
		default:
		}
		g.Lock()
		g.Unlock(true)
		if err := <-done; err != nil {
			t.Fatalf("WaitAndLock = %v, want nil", err)
		}
	})
}

func TestContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Gate
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := g.WaitAndLock(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("WaitAndLock = %v, want the context's error", err)
		}
		g.Lock() // the gate must have been left unlocked
		g.Unlock(true)
		if err := g.WaitAndLock(ctx); err != nil {
			t.Fatalf("WaitAndLock with an ended context and a true condition = %v, want nil", err)
		}
		g.Unlock(false)
	})
}

// TestManyWaiters lets many producers and consumers, some of which give up, share one counter. No wakeup may be lost.
func TestManyWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 200
		var g Gate
		items, taken := 0, 0
		var wg sync.WaitGroup
		for i := range 2 * n {
			wg.Go(func() {
				ctx := t.Context()
				if i%2 == 1 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, time.Duration(i%7)*time.Millisecond)
					defer cancel()
				}
				if g.WaitAndLock(ctx) == nil {
					items--
					taken++
					g.Unlock(items > 0)
				}
			})
		}
		for i := range 2 * n {
			wg.Go(func() {
				time.Sleep(time.Duration(i%11) * time.Millisecond)
				g.Lock()
				items++
				g.Unlock(true)
			})
		}
		wg.Wait()
		if taken < n {
			t.Errorf("%d waiters were served, want at least the %d that do not give up", taken, n)
		}
	})
}
