// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"

	"github.com/seed-98f0d4c2/runnel/signaling"
)

type toldSignaler struct {
	signaling.Signaler
	told int
}

func (s *toldSignaler) NetworkChanged() { s.told++ }

// The endpoint tells its signaler of a change of the network only if that has the method.
func TestWatchedSignalerPassesChangesOn(t *testing.T) {
	var s toldSignaler
	var watched signaling.Signaler = newChat(&screen{w: newTranscript()}, "a", "", 0).watchSignaling(&s, "hub")
	n, ok := watched.(interface{ NetworkChanged() })
	if !ok {
		t.Fatal("the endpoint cannot tell the client of a change of the network")
	}
	if n.NetworkChanged(); s.told != 1 {
		t.Errorf("the client was told %d times, want once", s.told)
	}
}
