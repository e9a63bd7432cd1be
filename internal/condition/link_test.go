// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package condition

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"testing"
	"time"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// An arrival is a packet that came out of a link.
type arrival struct {
	n    int
	at   time.Duration // since it went in
	data []byte
}

// run pushes n packets of size bytes, one every gap, and returns what comes out, in order.
func run(l *Link[int], n, size int, gap time.Duration) []arrival {
	var out []arrival
	sent := make([]time.Time, n)
	drain := func(until time.Time) {
		for !l.Next().IsZero() && !l.Next().After(until) {
			now := l.Next()
			for {
				b, i, ok := l.Pop(now)
				if !ok {
					break
				}
				out = append(out, arrival{i, now.Sub(sent[i]), bytes.Clone(b)})
				l.Release(b)
			}
		}
	}
	now := epoch
	b := make([]byte, size)
	for i := range n {
		drain(now)
		sent[i] = now
		binary.BigEndian.PutUint32(b, uint32(i))
		l.Push(now, b, i)
		now = now.Add(gap)
	}
	drain(now.Add(time.Hour))
	return out
}

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if math.Abs(got-want) > tolerance {
		t.Errorf("%s is %.4f, want %.4f ± %.4f", what, got, want, tolerance)
	}
}

func checkBalance(t *testing.T, st Stats) {
	t.Helper()
	in, out := st.Packets+st.Duplicated, st.Delivered+st.Lost+st.QueueFull+st.Overflow+st.Discarded+uint64(st.Held)
	if in != out {
		t.Errorf("%d packets went in or were made and %d are accounted for: %+v", in, out, st)
	}
}

func TestZeroLinkLetsEverythingThrough(t *testing.T) {
	var l Link[int]
	for i, a := range run(&l, 100, 100, time.Millisecond) {
		if a.n != i || a.at != 0 {
			t.Fatalf("packet %d came out as number %d after %v, want in order and at once", a.n, i, a.at)
		}
	}
	if st := l.Stats(); st.Delivered != 100 || st.Delayed != 0 {
		t.Errorf("stats are %+v, want 100 delivered and none delayed", st)
	}
}

func TestLossIsAsSet(t *testing.T) {
	const n = 40_000
	for _, s := range []Settings{
		{Loss: 0.2},
		{Loss: 0.05, Burst: 1},
		{Loss: 0.05, Burst: 8},
		{Loss: 0.1, Burst: 20, BurstDensity: 0.5},
		{Loss: 1},
		{Loss: 0.5, Burst: 100, BurstDensity: 0.2}, // as dense as it must be: all the time
	} {
		for seed := range uint64(3) {
			s.Seed = seed
			t.Run(fmt.Sprintf("loss=%v/burst=%v/density=%v/seed=%d", s.Loss, s.Burst, s.BurstDensity, seed), func(t *testing.T) {
				var l Link[int]
				l.Set(epoch, s)
				got := run(&l, n, 10, time.Millisecond)
				near(t, "loss", 1-float64(len(got))/n, s.Loss, 0.02)
				checkBalance(t, l.Stats())
				if s.Burst <= 1 || s.BurstDensity != 0 {
					return
				}
				runs, last := 0, -1
				for _, a := range got {
					if a.n != last+1 {
						runs++
					}
					last = a.n
				}
				near(t, "mean run of losses", float64(n-len(got))/float64(runs), s.Burst, 0.2*s.Burst)
			})
		}
	}
}

func TestDelayAndJitter(t *testing.T) {
	const n = 20_000
	for _, reorders := range []bool{false, true} {
		t.Run(fmt.Sprintf("reorders=%v", reorders), func(t *testing.T) {
			var l Link[int]
			s := Settings{Delay: 50 * time.Millisecond, Jitter: 20 * time.Millisecond, JitterReorders: reorders, Seed: 1}
			l.Set(epoch, s)
			gap := 30 * time.Millisecond // longer than the jitter, so that waiting for one another adds nothing
			if reorders {
				gap = time.Millisecond
			}
			late, sum, last := 0, time.Duration(0), -1
			for _, a := range run(&l, n, 10, gap) {
				if a.at < s.Delay || a.at > s.Delay+s.Jitter {
					t.Fatalf("packet %d took %v, want %v to %v", a.n, a.at, s.Delay, s.Delay+s.Jitter)
				}
				sum += a.at
				if a.n < last {
					late++
				}
				last = max(last, a.n)
			}
			near(t, "mean delay in ms", float64(sum)/n/1e6, 60, 0.3)
			if reorders != (late > n/4) {
				t.Errorf("%d of %d packets were overtaken, reordering being %v", late, n, reorders)
			}
		})
	}
	t.Run("in order however dense", func(t *testing.T) {
		var l Link[int]
		l.Set(epoch, Settings{Jitter: 100 * time.Millisecond})
		for i, a := range run(&l, 1000, 10, time.Millisecond) {
			if a.n != i {
				t.Fatalf("packet %d came out as number %d", a.n, i)
			}
		}
	})
}

func TestReorderDuplicateCorrupt(t *testing.T) {
	const n = 50_000
	var l Link[int]
	l.Set(epoch, Settings{Reorder: 0.1, ReorderDelay: 5 * time.Millisecond, Duplicate: 0.2, Corrupt: 0.05, Seed: 7})
	seen := make([]int, n)
	overtaken, damaged, last := 0, 0, -1
	for _, a := range run(&l, n, 100, time.Millisecond) {
		seen[a.n]++
		if a.at != 0 && a.at != 5*time.Millisecond {
			t.Fatalf("packet %d took %v, want nothing or 5 ms", a.n, a.at)
		}
		want := make([]byte, 100)
		binary.BigEndian.PutUint32(want, uint32(a.n))
		if diff := flipped(a.data, want); diff > 1 {
			t.Fatalf("packet %d has %d bits flipped, want one at most", a.n, diff)
		} else if diff == 1 && seen[a.n] == 1 {
			damaged++
		}
		if seen[a.n] == 1 && a.n < last {
			overtaken++
		}
		last = max(last, a.n)
	}
	twins := 0
	for i, c := range seen {
		if c < 1 || c > 2 {
			t.Fatalf("packet %d arrived %d times", i, c)
		}
		twins += c - 1
	}
	near(t, "reordered", float64(overtaken)/n, 0.1, 0.005)
	near(t, "duplicated", float64(twins)/n, 0.2, 0.007)
	near(t, "corrupted", float64(damaged)/n, 0.05, 0.004)
	st := l.Stats()
	checkBalance(t, st)
	if st.Duplicated != uint64(twins) || st.Corrupted != uint64(damaged) {
		t.Errorf("stats are %+v, want %d duplicated, %d corrupted", st, twins, damaged)
	}
}

func flipped(a, b []byte) int {
	n := 0
	for i := range a {
		for x := a[i] ^ b[i]; x != 0; x &= x - 1 {
			n++
		}
	}
	return n
}

func TestBandwidthAndQueue(t *testing.T) {
	const size = 1000
	for _, tt := range []struct {
		s       Settings
		gap     time.Duration
		through float64       // of the packets, part that gets through
		longest time.Duration // that one takes
	}{
		// 1000 bytes at 1 Mbit/s take 8 ms.
		{Settings{Bandwidth: 1e6}, 8 * time.Millisecond, 1, 8 * time.Millisecond},
		{Settings{Bandwidth: 1e6}, 4 * time.Millisecond, 0.5, 108 * time.Millisecond},
		{Settings{Bandwidth: 1e6, QueueDelay: 16 * time.Millisecond}, 4 * time.Millisecond, 0.5, 24 * time.Millisecond},
		{Settings{Bandwidth: 1e6, QueueBytes: 2000}, 4 * time.Millisecond, 0.5, 24 * time.Millisecond},
		{Settings{Bandwidth: 1e6, QueueBytes: 1}, 4 * time.Millisecond, 0.5, 8 * time.Millisecond},
		{Settings{Bandwidth: 1e6, QueueBytes: 2000, Delay: time.Second}, 2 * time.Millisecond, 0.25, 1024 * time.Millisecond},
	} {
		t.Run(fmt.Sprintf("delay=%v/bytes=%v/gap=%v", tt.s.QueueDelay, tt.s.QueueBytes, tt.gap), func(t *testing.T) {
			const n = 5000
			var l Link[int]
			l.Set(epoch, tt.s)
			var longest time.Duration
			got := run(&l, n, size, tt.gap)
			for i, a := range got {
				longest = max(longest, a.at)
				if i > 0 && a.n < got[i-1].n {
					t.Fatalf("packet %d overtook %d", a.n, got[i-1].n)
				}
			}
			near(t, "part that got through", float64(len(got))/n, tt.through, 0.005)
			if longest > tt.longest || longest < tt.longest-tt.gap {
				t.Errorf("the slowest packet took %v, want %v", longest, tt.longest)
			}
			checkBalance(t, l.Stats())
		})
	}
}

func TestSettingsChangeWhilePacketsAreHeld(t *testing.T) {
	var l Link[int]
	l.Set(epoch, Settings{Bandwidth: 8000, QueueBytes: 1 << 20}) // a second for each packet
	for i := range 10 {
		l.Push(epoch, make([]byte, 1000), i)
	}
	at := epoch.Add(500 * time.Millisecond)
	l.Set(at, Settings{Bandwidth: 80_000, QueueBytes: 1 << 20})
	if got, want := l.Next(), at.Add(50*time.Millisecond); !got.Equal(want) {
		t.Errorf("half of the first packet at ten times the bandwidth is out at %v, want %v", got.Sub(epoch), want.Sub(epoch))
	}
	l.Set(at, Settings{})
	for i := range 10 {
		_, n, ok := l.Pop(at)
		if !ok || n != i {
			t.Fatalf("without a bandwidth packet %d is not out at once, got %d, %v", i, n, ok)
		}
	}
	l.Set(at, Settings{Delay: time.Second})
	l.Push(at, []byte{1}, 1)
	l.Set(at, Settings{Delay: time.Millisecond})
	l.Push(at, []byte{2}, 2)
	if _, n, ok := l.Pop(at.Add(time.Millisecond)); !ok || n != 2 {
		t.Errorf("a packet does not overtake when the delay has been made shorter, got %d, %v", n, ok)
	}
	if _, n, ok := l.Pop(at.Add(time.Second)); !ok || n != 1 {
		t.Errorf("a packet under way is gone, got %d, %v", n, ok)
	}
	checkBalance(t, l.Stats())
}

func TestSameSeedSameFate(t *testing.T) {
	hard := Settings{
		Loss: 0.1, Burst: 3, Delay: 10 * time.Millisecond, Jitter: 30 * time.Millisecond, JitterReorders: true,
		Reorder: 0.1, Duplicate: 0.1, Corrupt: 0.1, Bandwidth: 1e6,
	}
	result := func(seed uint64, s Settings) string {
		var l Link[int]
		s.Seed = seed
		l.Set(epoch, s)
		return fmt.Sprint(run(&l, 2000, 500, 3*time.Millisecond))
	}
	first := result(1, hard)
	if again := result(1, hard); again != first {
		t.Error("the same seed gave two results")
	}
	if result(2, hard) == first {
		t.Error("two seeds gave the same result")
	}

	// What is lost does not depend on the other settings.
	lost := func(s Settings) string {
		var l Link[int]
		l.Set(epoch, s)
		fates := make([]byte, 2000)
		for i := range fates {
			fates[i] = '.'
			if !l.Push(epoch.Add(time.Duration(i)*time.Second), []byte{1}, i) {
				fates[i] = 'x'
			}
		}
		return string(fates)
	}
	plain := Settings{Loss: 0.1, Seed: 3}
	busy := plain
	busy.Duplicate, busy.Corrupt, busy.Reorder, busy.Jitter = 0.5, 0.5, 0.5, time.Millisecond
	if lost(plain) != lost(busy) {
		t.Error("other settings change which packets are lost")
	}
}

func TestMemoryIsBounded(t *testing.T) {
	for _, s := range []Settings{
		{Delay: time.Hour},
		{Delay: time.Hour, Duplicate: 1},
		{Bandwidth: 1, QueueBytes: math.MaxInt, Duplicate: 1},
	} {
		for _, size := range []int{1, 1500} {
			var l Link[int]
			l.Set(epoch, s)
			b := make([]byte, size)
			for i := range maxPackets + maxPackets/8 {
				l.Push(epoch, b, i)
			}
			st := l.Stats()
			if st.Held > maxPackets || st.HeldBytes > maxBytes || st.Overflow == 0 {
				t.Errorf("%+v, packets of %d: holds %d packets, %d bytes, %d overflowed; want at most %d and %d",
					s, size, st.Held, st.HeldBytes, st.Overflow, maxPackets, maxBytes)
			}
			checkBalance(t, st)
			l.Discard()
			if st := l.Stats(); st.Held != 0 || st.HeldBytes != 0 || !l.Next().IsZero() {
				t.Errorf("after Discard %d packets, %d bytes are held", st.Held, st.HeldBytes)
			}
		}
	}
}

func TestOddSettingsAreTaken(t *testing.T) {
	nan := math.NaN()
	for _, s := range []Settings{
		{Loss: nan, Burst: nan, BurstDensity: nan, Reorder: nan, Duplicate: nan, Corrupt: nan},
		{Loss: -1, Burst: -1, BurstDensity: -1, Delay: -1, Jitter: -1, Bandwidth: -1, QueueBytes: -1, QueueDelay: -1},
	} {
		if !s.IsZero() {
			t.Errorf("%+v is not zero", s)
		}
		var l Link[int]
		l.Set(epoch, s)
		if got := len(run(&l, 100, 10, time.Millisecond)); got != 100 {
			t.Errorf("%+v: %d of 100 packets came out", s, got)
		}
	}
	var l Link[int]
	l.Set(epoch, Settings{Loss: 2, Corrupt: 1})
	if l.Push(epoch, nil, 0) {
		t.Error("a loss of 2 lost nothing")
	}
	l.Set(epoch, Settings{Corrupt: 1})
	if !l.Push(epoch, nil, 0) {
		t.Error("an empty packet was lost")
	}
}

// Times beyond all measure are the longest there are, and not in the past.
func TestTimesAreClamped(t *testing.T) {
	const longest = math.MaxInt64
	for name, s := range map[string]Settings{
		"delay":   {Delay: longest},
		"both":    {Delay: longest, Jitter: longest},
		"reorder": {Delay: longest, Jitter: longest, Reorder: 1, ReorderDelay: longest},
		"queue":   {Bandwidth: 1, QueueDelay: longest, Delay: longest},
	} {
		var l Link[int]
		l.Set(epoch, s)
		for i := range 20 {
			l.Push(epoch, make([]byte, 1400), i)
		}
		if _, _, ok := l.Pop(epoch.Add(59 * time.Minute)); ok {
			t.Errorf("%s: a packet came out at once, want it held for an hour", name)
		}
		last := epoch
		for n := 0; ; n++ {
			next := l.Next()
			if next.IsZero() {
				if n == 0 {
					t.Errorf("%s: nothing is held", name)
				}
				break
			}
			if next.Before(last) || next.After(epoch.AddDate(1, 0, 0)) {
				t.Fatalf("%s: the next packet is due at %v, the one before was at %v", name, next, last)
			}
			last = next
			for {
				if _, _, ok := l.Pop(next); !ok {
					break
				}
			}
		}
	}
}
