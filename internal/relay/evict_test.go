// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/pionx/stunx"
)

// A user whose host moves twenty times, and cannot give back what it had before, is not locked out; nor is any client that is
// still there.
func TestMovesDoNotUseUpTheQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, func(c *Config) { c.AnswerRate = -1; c.MaxPerUser = 4 })
		deallocate := func(b *stunx.Builder) { b.Add(stunx.Lifetime, make([]byte, 4)) }
		desk := l.raw("8.0.1.1:1000", "alice")
		if got := desk.allocate(); got != 0 {
			t.Fatalf("the first allocation: %d", got)
		}
		var moved []*raw
		for i := range 20 {
			r := l.raw(fmt.Sprintf("8.0.0.%d:1000", i+1), "alice")
			if got := r.allocate(); got != 0 {
				t.Fatalf("after %d moves Allocate is answered %d, want success", i, got)
			}
			moved = append(moved, r)
			time.Sleep(20 * time.Second)
			desk.indication(relayUDP, "here") // whatever it is
		}
		if got := desk.permit("8.8.8.8"); got != 0 {
			t.Errorf("who has been there all the time is answered %d, want success", got)
		}
		if n := l.s.Allocations(); n != 4 {
			t.Errorf("%d allocations, want as many as the user may have", n)
		}
		// More than that, all of them in use, are refused as ever.
		for _, r := range moved[17:] {
			if got := r.permit("8.8.8.8"); got != 0 {
				t.Fatalf("one of the last four is answered %d, want success", got)
			}
		}
		if got := l.raw("8.0.2.1:1000", "alice").allocate(); got != 486 {
			t.Errorf("an allocation too many is answered %d, want 486", got)
		}
		if got := l.raw("8.0.2.2:1000", "bob").allocate(); got != 0 {
			t.Errorf("another user is answered %d, want success", got)
		}
		// Who has had to make room learns of it, and gets another at the same address after giving the old one back.
		back := moved[0]
		if got := back.permit("8.8.8.8"); got != 437 {
			t.Errorf("an evicted client is answered %d, want 437", got)
		}
		if got := back.do(stunx.Refresh, nil); got != 437 {
			t.Errorf("its refresh is answered %d, want 437", got)
		}
		if got := back.do(stunx.Refresh, deallocate); got != 0 {
			t.Errorf("giving it back is answered %d, want success", got)
		}
		if got := desk.do(stunx.Refresh, deallocate); got != 0 {
			t.Errorf("deallocation is answered %d", got)
		}
		if got := back.allocate(); got != 0 {
			t.Errorf("an evicted client allocates anew and is answered %d, want success", got)
		}
		for _, g := range l.s.gateList() {
			if n := g.remembered(); n > 20 {
				t.Errorf("%d evicted allocations remembered", n)
			}
		}
		time.Sleep(11 * time.Minute)
		for _, g := range l.s.gateList() {
			if n := g.remembered(); n != 0 {
				t.Errorf("%d evicted allocations remembered after they have expired, want none", n)
			}
		}
	})
}

// remembered is how many evicted allocations the gate knows.
func (g *gate) remembered() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.evicted)
}

func (s *Server) gateList() (list []*gate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for g := range s.gates {
		list = append(list, g)
	}
	return list
}
