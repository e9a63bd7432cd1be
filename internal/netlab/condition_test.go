// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package netlab_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/condition"
	"github.com/seed-98f0d4c2/runnel/internal/netlab"
)

func TestConditionsOfLinksAndPairs(t *testing.T) {
	const ms = time.Millisecond
	delay := func(d time.Duration) condition.Settings { return condition.Settings{Delay: d} }
	bubble(t, func(t *testing.T) {
		l := newLab(t, netlab.Config{OneWay: 10 * ms})
		a, b, c := l.host(netlab.Public), l.host(netlab.Public), l.host(netlab.Public)
		sa, sb, sc := l.listen(a, 1), l.listen(b, 1), l.listen(c, 1)
		check := func(what string, want time.Duration, f func()) {
			t.Helper()
			start := time.Now()
			f()
			if got := time.Since(start); got != want {
				t.Errorf("%s took %v, want %v", what, got, want)
			}
		}
		ab := func() { sa.send(sb.addr(b), "x"); sb.want("x") }
		ba := func() { sb.send(sa.addr(a), "x"); sa.want("x") }
		ac := func() { sa.send(sc.addr(c), "x"); sc.want("x") }

		a.SetConditions(delay(1*ms), delay(2*ms))
		b.SetConditions(delay(4*ms), delay(8*ms))
		if err := l.SetConditions(a, b, delay(100*ms)); err != nil {
			t.Fatal(err)
		}
		check("a to b", 129*ms, ab)
		check("b to a", 26*ms, ba)
		check("a to c", 21*ms, ac)
		a.SetConditions(condition.Settings{}, condition.Settings{})
		check("a to b after a's link is good", 128*ms, ab)
		if err := l.SetConditions(a, b, condition.Settings{}); err != nil {
			t.Fatal(err)
		}
		check("a to b after the way is good", 28*ms, ab)

		// 8 ms for each packet of 1000 bytes, the last link being the bottleneck for two senders.
		c.SetConditions(condition.Settings{}, condition.Settings{Bandwidth: 1e6})
		big := string(make([]byte, 1000))
		check("one from each to c", 36*ms, func() { // b's arrives 4 ms after a's, and waits for the rest of its 8
			sa.send(sc.addr(c), big)
			sb.send(sc.addr(c), big)
			sc.want(big)
			sc.want(big)
		})
		if err := l.SetConditions(a, a, delay(1)); !errors.Is(err, netlab.ErrConfig) {
			t.Errorf("conditions between a host and itself: %v, want ErrConfig", err)
		}
	})
}

func TestConditionsAreReproducible(t *testing.T) {
	hard := condition.Settings{
		Loss: 0.1, Burst: 3, Duplicate: 0.1, Reorder: 0.1, Bandwidth: 1e6, Jitter: 3 * time.Millisecond, JitterReorders: true,
	}
	result := func(seed uint64) (got string, st netlab.Stats) {
		bubble(t, func(t *testing.T) {
			l := newLab(t, netlab.Config{Seed: seed})
			a, b := l.host(netlab.FullCone), l.host(netlab.Public)
			a.SetConditions(hard, condition.Settings{})
			b.SetConditions(condition.Settings{}, hard)
			if err := l.SetConditions(a, b, hard); err != nil {
				t.Fatal(err)
			}
			sa, sb := l.listen(a, 1), l.listen(b, 1)
			for i := range 500 {
				sa.send(sb.addr(b), fmt.Sprint(i, " "))
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			st = l.Stats()
			for range st.Delivered {
				s, _, _ := sb.recv()
				got += s
			}
		})
		return got, st
	}
	first, st := result(1)
	if st.Lost < 50 || st.Delivered < 100 {
		t.Errorf("stats are %+v, want many lost and many delivered of 500", st)
	}
	if again, _ := result(1); again != first {
		t.Error("the same seed gave two results")
	}
	if other, _ := result(2); other == first {
		t.Error("two seeds gave the same result")
	}
}
