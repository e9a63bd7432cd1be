// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mobility

import (
	"slices"
	"time"
)

// A Trial is what has come of challenging a path. It is remembered for longer than the path, for people who ask why the
// session does not use it.
type Trial struct {
	Candidate
	First, Last time.Time // of its challenges
	Answered    time.Time // when the last answer came; zero if none did
	Challenges  int
	Answers     int
}

// maxTrials is how many trials are kept.
const maxTrials = 24

// Trials returns what has come of challenges, at most 24, the path tried first first.
func (m *Machine) Trials() []Trial { return slices.Clone(m.trials) }

// trial returns the record of p, which pushes out the one that is the longest past.
func (m *Machine) trial(now time.Time, p *path) *Trial {
	i := slices.IndexFunc(m.trials, func(t Trial) bool { return t.Key == p.Key })
	if i < 0 {
		if len(m.trials) == maxTrials {
			old := 0
			for j := range m.trials {
				if m.trials[j].Last.Before(m.trials[old].Last) {
					old = j
				}
			}
			m.trials = slices.Delete(m.trials, old, old+1)
		}
		i = len(m.trials)
		m.trials = append(m.trials, Trial{First: now})
	}
	t := &m.trials[i]
	t.Candidate = p.Candidate
	return t
}
