// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mobility

import (
	"fmt"
	"testing"
	"time"
)

func TestTrials(t *testing.T) {
	rel, dir, mute := relayed("198.51.100.1:1"), direct("192.0.2.1:1"), direct("192.0.2.2:1")
	r := newRig(t, rel, Policy{})
	r.pass(time.Second)
	began := r.now
	r.m.HandleCandidate(r.now, dir)
	r.m.HandleCandidate(r.now, mute)
	r.drain()
	r.pass(40 * ms1)
	r.answer(dir.Key)
	for range 60 {
		r.received(dir.Key, true)
		r.pass(time.Second)
	}
	r.m.HandleCandidates(r.now, []Candidate{dir})
	if r.m.lookup(mute.Key) != nil {
		t.Fatal("a path that never answered, and is named no more, is still known")
	}
	found := 0
	for _, tr := range r.m.Trials() {
		switch tr.Key {
		case dir.Key:
			found++
			if tr.Challenges < 1 || tr.Answers != 1 || !tr.First.Equal(began) || !tr.Answered.Equal(began.Add(40*ms1)) {
				t.Errorf("trial of the path that answered is %+v", tr)
			}
		case mute.Key:
			found++
			if tr.Challenges < candidateTries || tr.Answers != 0 || !tr.Answered.IsZero() || !tr.Last.After(tr.First) {
				t.Errorf("trial of the path that did not answer is %+v, want at least %d challenges", tr, candidateTries)
			}
		}
	}
	if found != 2 {
		t.Errorf("trials are %+v, want both candidates among them", r.m.Trials())
	}
	for i := range 10 * maxTrials {
		r.m.HandleCandidate(r.now, direct(fmt.Sprintf("203.0.113.1:%d", i+1)))
		r.pass(time.Second)
	}
	if n := len(r.m.Trials()); n != maxTrials {
		t.Errorf("%d trials are kept, want %d", n, maxTrials)
	}
}
