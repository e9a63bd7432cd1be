// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mobility

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// epoch is when tests begin; its date means nothing.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// seeded returns a Config.Rand that gives the same bytes every time.
func seeded(seed uint64) func([]byte) {
	var s [32]byte
	s[0], s[1] = byte(seed), byte(seed>>8)
	r := rand.NewChaCha8(s)
	return func(b []byte) { _, _ = r.Read(b) }
}

func addr(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func direct(s string) Candidate  { return Candidate{Key{0, addr(s)}, Direct} }
func relayed(s string) Candidate { return Candidate{Key{1, addr(s)}, Relayed} }

// A rig is one machine with a driver that does nothing on its own.
type rig struct {
	t     *testing.T
	m     *Machine
	now   time.Time
	acts  []Action
	moves []Action // the Switch actions among them
}

func newRig(t *testing.T, first Candidate, p Policy) *rig {
	return newRigWith(t, first, &Config{Policy: p})
}

func newRigWith(t *testing.T, first Candidate, c *Config) *rig {
	c.Rand = seeded(1)
	r := &rig{t: t, now: epoch}
	r.m = New(r.now, first, c)
	return r
}

// drain polls all actions, reporting what they cause to be sent, and checks what must always hold.
func (r *rig) drain() {
	r.t.Helper()
	for {
		a, ok := r.m.Poll(r.now)
		if !ok {
			break
		}
		switch a.Op {
		case Challenge, Response, Ping:
			if b := r.m.Budget(a.Path.Key); b < challengeSize && a.Op != Ping {
				r.t.Fatalf("%v by %v exceeds its budget of %d", a.Op, a.Path, b)
			}
			r.m.HandleSent(r.now, a.Path.Key, challengeSize)
		case Switch:
			r.moves = append(r.moves, a)
			if a.Why == "" {
				r.t.Errorf("switch to %v does not say why", a.Path)
			}
		}
		r.acts = append(r.acts, a)
	}
}

// pass lets time pass, serving timeouts.
func (r *rig) pass(d time.Duration) {
	r.t.Helper()
	end := r.now.Add(d)
	for range 100000 {
		next := r.m.NextTimeout()
		if next.IsZero() || next.After(end) {
			r.now = end
			return
		}
		if next.After(r.now) {
			r.now = next
		}
		r.m.HandleTimeout(r.now)
		r.drain()
		if next := r.m.NextTimeout(); !next.IsZero() && !next.After(r.now) {
			r.t.Fatalf("NextTimeout is %v, which HandleTimeout at %v should have dealt with", next, r.now)
		}
	}
	r.t.Fatal("timeouts without end")
}

func (r *rig) received(k Key, newest bool) {
	r.t.Helper()
	r.m.HandleReceived(r.now, k, 100, newest)
	r.drain()
}

// take removes and returns the actions so far that are of the given op.
func (r *rig) take(op Op) []Action {
	r.drain()
	var taken []Action
	kept := r.acts[:0]
	for _, a := range r.acts {
		if a.Op == op {
			taken = append(taken, a)
		} else {
			kept = append(kept, a)
		}
	}
	r.acts = kept
	return taken
}

// answer responds to the latest challenge that went by k, as the peer would by the same path.
func (r *rig) answer(k Key) {
	r.t.Helper()
	r.drain()
	for _, a := range slices.Backward(r.acts) {
		if a.Op == Challenge && a.Path.Key == k {
			r.m.HandleReceived(r.now, k, challengeSize, false)
			r.drain()
			r.m.HandleResponse(r.now, k, a.Data)
			r.drain()
			return
		}
	}
	r.t.Fatalf("no challenge went by %v", k)
}

// validate has the path c answer a challenge after rtt.
func (r *rig) validate(c Candidate, rtt time.Duration) {
	r.t.Helper()
	r.m.HandleCandidate(r.now, c)
	r.drain()
	r.now = r.now.Add(rtt)
	r.answer(c.Key)
}

func (r *rig) wantCurrent(why string, k Key) {
	r.t.Helper()
	if got := r.m.Current(); got.Key != k {
		r.t.Fatalf("%s: current path is %v, want %v", why, got, k)
	}
}

func (r *rig) wantMoves(why string, n int) {
	r.t.Helper()
	r.drain()
	if len(r.moves) != n {
		var whys []string
		for _, a := range r.moves {
			whys = append(whys, a.Why)
		}
		r.t.Fatalf("%s: %d switches, want %d:\n%s", why, len(r.moves), n, strings.Join(whys, "\n"))
	}
}
