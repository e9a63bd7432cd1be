// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/flow"
)

// TestRushNeverBlocks: whoever reads a socket for all sessions, and whoever calls Send, does not do for one session what
// may take its time: what others have posted, and the end of its setup, which waits for goroutines of the ICE agent.
func TestRushNeverBlocks(t *testing.T) {
	s := &Session{wake: make(chan struct{}, 1), phase: phaseReady, mux: flow.NewMux(nil), alarm: newAlarm()}
	s.mux.Sent(time.Now(), 0, len(s.mux.Append(time.Now(), 0, nil, 1200)), false) // or there is something to send
	s.at = &setup{}
	if s.setQuiet(false); s.quiet.Load() == 0 {
		t.Error("not quiet while a setup lingers, which it does for the first seconds of every session")
	}
	s.endSetupSoon()
	if s.at == nil || !s.hasPosted() {
		t.Error("a round ended the setup instead of leaving it to the loop")
	}
	s.posted = nil
	s.post(func(time.Time) { t.Error("somebody in a hurry did what was posted for the loop") })
	if s.rush() {
		t.Error("somebody in a hurry takes over posted work")
	}
}
