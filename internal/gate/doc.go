// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

// Package gate provides a mutex with one condition on which a goroutine can wait together with a context.
//
// The state a gate protects says whether the condition holds; whoever unlocks the gate restates it:
//
//	g.Lock()
//	queue = append(queue, x)
//	g.Unlock(len(queue) > 0)
//
//	if err := g.WaitAndLock(ctx); err != nil {
//		return err
//	}
//	x, queue = queue[0], queue[1:]
//	g.Unlock(len(queue) > 0)
//
// It is the meeting point of a loop that must not block and of handles whose callers may. A gate is a mutex as far as
// testing/synctest is concerned; a wait is durably blocking.
//
// # Limitations
//
// Waiters are not served in order.
package gate
