// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package condition

import (
	"testing"
	"time"
)

// FuzzLink changes settings and moves packets as the input says. Nothing is lost sight of, nothing comes out early, and
// packets keep their order as long as nobody asked for another.
func FuzzLink(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 250, 251, 252})
	f.Add([]byte("settings that change while packets are held"))
	f.Fuzz(func(t *testing.T, ops []byte) {
		var l Link[time.Time]
		now := epoch
		var s Settings
		next := func() byte {
			if len(ops) == 0 {
				return 0
			}
			b := ops[0]
			ops = ops[1:]
			return b
		}
		orderly, delay, last := true, time.Duration(0), time.Time{} // delay: the least there has been
		for len(ops) > 0 {
			switch op := next(); op % 8 {
			case 0, 1, 2:
				l.Push(now, make([]byte, 8*int(next())), now)
			case 3:
				now = now.Add(time.Duration(next()) * time.Millisecond)
			case 4, 5:
				for {
					b, sent, ok := l.Pop(now)
					if !ok {
						break
					}
					if now.Sub(sent) < delay {
						t.Fatalf("a packet came out after %v, the delay being %v at least", now.Sub(sent), delay)
					}
					if orderly && sent.Before(last) {
						t.Fatal("a packet overtook another")
					}
					last = sent
					l.Release(b)
				}
			default:
				v, old := next(), s
				switch op % 5 {
				case 0:
					s.Loss, s.Burst = float64(v)/255, float64(next()%8)
				case 1:
					s.Delay, s.Jitter = time.Duration(v)*time.Millisecond, time.Duration(next())*time.Millisecond
				case 2:
					s.Bandwidth, s.QueueBytes = int64(v)*1000, int(next())*100
				case 3:
					s.Duplicate, s.Corrupt = float64(v)/255, float64(next())/255
				case 4:
					s.Reorder, s.JitterReorders = float64(v)/255, next()%2 == 0
				}
				l.Set(now, s)
				orderly = orderly && !s.JitterReorders && s.Reorder == 0 && s.Delay+s.Jitter >= old.Delay+old.Jitter
				if l.Stats().Packets == 0 {
					delay = s.Delay
				}
				delay = min(delay, s.Delay)
			}
			if at := l.Next(); at.IsZero() != (l.Stats().Held == 0) {
				t.Fatalf("the next packet is due at %v, %d are held", at, l.Stats().Held)
			}
		}
		checkBalance(t, l.Stats())
		for !l.Next().IsZero() {
			if at := l.Next(); at.After(now) {
				now = at
			}
			for {
				if _, _, ok := l.Pop(now); !ok {
					break
				}
			}
		}
		if st := l.Stats(); st.Held != 0 || st.HeldBytes != 0 {
			t.Fatalf("when everything is out, %d packets, %d bytes are held", st.Held, st.HeldBytes)
		}
	})
}
