// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mobility

import (
	"net/netip"
	"testing"
	"time"
)

// FuzzMachine drives a machine by arbitrary calls and checks what must hold whatever happens.
func FuzzMachine(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12})
	f.Add([]byte("\x02\x21\x08\x02\x05\x21\x04\x01\x09\x10\x05\x21\x06\x00\x08\xff\x08\xff\x08\xff"))
	f.Add([]byte("\x00\x31\x00\x32\x00\x33\x00\x34\x05\x31\x05\x32\x05\x33\x06\x01\x06\x00"))
	f.Fuzz(func(t *testing.T, ops []byte) {
		for _, policy := range []Policy{{}, {RelayOnly: true, Hysteresis: -1}} {
			runOps(t, ops, policy)
		}
	})
}

func runOps(t *testing.T, ops []byte, policy Policy) {
	now := epoch
	first := relayed("198.51.100.1:1")
	m := New(now, first, &Config{Policy: policy, Rand: seeded(9)})
	// keyOf gives one of 64 paths: four bindings, sixteen remotes.
	keyOf := func(b byte) Key {
		return Key{int32(b >> 4 & 3), netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, b & 15}), 1)}
	}
	in, out := map[Key]int{}, map[Key]int{}
	vouched, proven := map[Key]bool{first.Key: true}, map[Key]bool{}
	data := map[Key][8]byte{} // the latest challenge by each path
	losses, switches := uint64(0), uint64(0)
	permits := func(k Key) bool {
		return (!policy.RelayOnly || k.Via > 0) && (policy.Allowed == nil || policy.Allowed(k))
	}

	drain := func() {
		for {
			a, ok := m.Poll(now)
			if !ok {
				break
			}
			k := a.Path.Key
			switch a.Op {
			case Challenge, Response:
				if m.lookup(k) == nil {
					continue // dropped since
				}
				if b := m.Budget(k); b < challengeSize {
					t.Fatalf("%v by %v exceeds its budget of %d", a.Op, k, b)
				}
				if !permits(k) {
					t.Fatalf("%v by %v, which the policy forbids", a.Op, k)
				}
				if a.Op == Challenge {
					data[k] = a.Data
				}
				m.HandleSent(now, k, challengeSize)
				out[k] += challengeSize
				// An address that nobody vouched for and that never answered.
				proven[k] = proven[k] || m.lookup(k).proven
				if !vouched[k] && !proven[k] && out[k] > 3*in[k] {
					t.Fatalf("%d bytes sent to %v, %d received", out[k], k, in[k])
				}
			case Switch:
				switches++
				if a.Why == "" { // From may equal Path: a binding that was lost has come back
					t.Fatalf("switch from %v to %v, why %q", a.From, k, a.Why)
				}
				if !permits(k) {
					t.Fatalf("switch to %v, which the policy forbids", k)
				}
			}
		}
		if got := m.Current(); got.Key != m.cur.Key {
			t.Fatal("Current is not current")
		}
		if n := len(m.Paths()); n > MaxPaths+1 {
			t.Fatalf("%d paths", n)
		}
		// One switch per validation or loss, and every switch is told.
		if s := m.Stats(); s.Switches > s.Answered+losses || s.Dropped == 0 && s.Switches != switches {
			t.Fatalf("%d switches (%d told) by %d answers and %d losses", s.Switches, switches, s.Answered, losses)
		}
		if !m.Outage() && m.lookup(m.Current().Key) == nil {
			t.Fatal("the current path is not in the table though there is no outage")
		}
	}
	sleeps := 20 // enough; more would only take long
	for len(ops) >= 2 {
		op, arg := ops[0]%17, ops[1]
		ops = ops[2:]
		k := keyOf(arg)
		switch op {
		case 0, 1:
			m.HandleReceived(now, k, 40+int(arg), op == 0)
			if m.lookup(k) != nil {
				in[k] += 40 + int(arg)
			}
		case 2:
			vouched[k] = true
			m.HandleCandidate(now, Candidate{k, Kind(arg >> 6 & 1)})
		case 3:
			m.HandleChallenge(now, k, [8]byte{arg})
		case 4:
			if b := m.Budget(k); b >= 30 && permits(k) {
				m.HandleSent(now, k, 30)
				out[k] += 30
			}
		case 5:
			if d, ok := data[k]; ok {
				m.HandleReceived(now, k, 40, false)
				if m.lookup(k) != nil {
					in[k] += 40
				}
				drain()
				m.HandleResponse(now, k, d)
				if p := m.lookup(k); p != nil && p.proven {
					proven[k] = true
				}
			}
		case 6:
			m.HandleViaLost(now, int32(arg&3))
			losses++
		case 7:
			m.HandleStall(now)
		case 8: // sleep until the next timeout, if it comes within a minute
			if next := m.NextTimeout(); !next.IsZero() && next.Sub(now) < time.Minute {
				now = maxTime(now, next)
			}
			m.HandleTimeout(now)
			drain()
			if next := m.NextTimeout(); !next.IsZero() && !next.After(now) {
				t.Fatalf("NextTimeout %v after HandleTimeout at %v", next, now)
			}
		case 10:
			m.HandleLocalChange(now, "fuzzed")
		case 11: // a list of two, or none
			var list []Candidate
			if arg&8 != 0 {
				list = []Candidate{{k, Kind(arg >> 6 & 1)}, {keyOf(arg + 1), Direct}}
			}
			for _, c := range list {
				vouched[c.Key] = true
			}
			m.HandleCandidates(now, list)
		case 12:
			m.HandleLosses(now, uint64(arg&15), uint64(arg>>4))
		case 13:
			m.SetBattery(now, arg&1 != 0)
		case 14: // traffic
			for range arg & 31 {
				m.HandleReceived(now, m.Current().Key, 100, true)
			}
			if m.lookup(m.Current().Key) != nil {
				in[m.Current().Key] += 100 * int(arg&31)
			}
		case 15: // a long sleep, with timeouts
			if sleeps--; sleeps < 0 {
				continue
			}
			until := now.Add(time.Duration(arg) * time.Second / 4)
			for n := 0; ; n++ {
				next := m.NextTimeout()
				if next.IsZero() || next.After(until) {
					break
				}
				now = maxTime(now, next)
				m.HandleTimeout(now)
				drain()
				if n > 100*int(arg)+100 {
					t.Fatalf("%d timeouts in %d s", n, arg)
				}
			}
			now = until
		case 9:
			now = now.Add(time.Duration(arg) * 10 * time.Millisecond)
		case 16: // as the application allows direct paths, or the host leaves a network
			policy.RelayOnly = arg&1 != 0
			policy.Allowed = nil
			if forbidden := int32(arg >> 1 & 7); forbidden < 4 {
				policy.Allowed = func(k Key) bool { return k.Via != forbidden }
			}
			m.SetPolicy(now, policy)
			losses++
		}
		drain()
		if n := len(m.Trials()); n > maxTrials {
			t.Fatalf("%d trials", n)
		}
		if n := len(m.History()); n > maxHistory {
			t.Fatalf("%d records", n)
		}
		for _, p := range m.Paths() {
			if p.Loss < 0 || p.Loss > 1 {
				t.Fatalf("%v loses %v of what is sent", p, p.Loss)
			}
		}
	}
}

// TestRandomCalls is the fuzz target with seeds, for every run of the tests.
func TestRandomCalls(t *testing.T) {
	for seed := range seeds(100) {
		ops := make([]byte, 2000)
		seeded(seed)(ops)
		if seed%2 == 0 { // few paths, so that more happens on each
			for i := 1; i < len(ops); i += 2 {
				ops[i] &= 0x33
			}
		}
		for _, policy := range []Policy{{}, {RelayOnly: true, Hysteresis: -1}} {
			runOps(t, ops, policy)
		}
	}
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
