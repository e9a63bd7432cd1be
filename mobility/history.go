// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mobility

import (
	"slices"
	"time"
)

// What says what a [Record] is about.
type What string

const (
	Switched  What = "switch"       // the session moved to Path
	Following What = "follow"       // the peer's newest packet came by Path, which is challenged
	Refused   What = "refused"      // Path was not tried, followed or kept
	Doubted   What = "doubt"        // Path is current and is being verified
	Died      What = "dead"         // Path was current and nothing answers
	Revived   What = "alive"        // Path is current and answers again
	GivenUp   What = "given up"     // Path did not answer
	Proven    What = "proven"       // Path answered for the first time, or again
	Changed   What = "local change" // the ground moved under all paths; Path is the current one
	Named     What = "candidates"   // the peer's candidates were replaced; Path is the current one
	Worsened  What = "degraded"     // Path is current and loses much or takes long
	Gone      What = "gone"         // Path was current and may not or cannot be used any more
	Rebound   What = "rebound"      // a silence was longer than a NAT's memory: see Policy.Battery
)

// A Record is one decision of a [Machine], for people who ask why.
type Record struct {
	At    time.Time // of the last one, if Count is more than one
	What  What
	Path  Path // with Key and Kind only
	Why   string
	Count int // how many like it came in a row, at least one
}

// maxHistory is how many records are kept.
const maxHistory = 64

// An entry is a record as it is kept.
type entry struct {
	at    time.Time
	what  What
	path  Candidate
	why   string
	count int
}

// note records a decision. What repeats itself is counted, lest it drive out all else.
func (m *Machine) note(now time.Time, what What, p Candidate, why string) {
	if n := len(m.history); n > 0 {
		last := &m.history[(m.oldest+n-1)%n]
		same := last.what == what && last.why == why
		if same && (what == Refused || last.path.Key == p.Key) {
			last.at, last.path = now, p
			last.count++
			return
		}
	}
	e := entry{now, what, p, why, 1}
	if len(m.history) < maxHistory {
		m.history = append(m.history, e)
		return
	}
	m.history[m.oldest] = e
	m.oldest = (m.oldest + 1) % maxHistory
}

// History returns the latest decisions, at most 64, the oldest first.
func (m *Machine) History() []Record {
	rs := make([]Record, 0, len(m.history))
	for _, part := range [][]entry{m.history[m.oldest:], m.history[:m.oldest]} {
		for _, e := range part {
			rs = append(rs, Record{e.at, e.what, Path{Key: e.path.Key, Kind: e.path.Kind}, e.why, e.count})
		}
	}
	return slices.Clip(rs)
}
