// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package udp

import (
	"testing"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

func TestClassify(t *testing.T) {
	want := func(b byte) Class {
		for _, r := range []struct {
			lo, hi byte
			c      Class
		}{{0, 3, STUN}, {20, 63, DTLS}, {64, 79, TURNChannel}, {128, 191, RTP}, {192, 255, Runnel}} {
			if r.lo <= b && b <= r.hi {
				return r.c
			}
		}
		return Unknown
	}
	for b := range 256 {
		if got := Classify([]byte{byte(b)}); got != want(byte(b)) {
			t.Errorf("Classify(%d) = %v, want %v", b, got, want(byte(b)))
		}
	}
	if got := Classify(nil); got != Unknown {
		t.Errorf("Classify of an empty datagram = %v, want %v", got, Unknown)
	}
	for _, b := range []byte{wire.FirstProtected, wire.FirstHandshake, wire.FirstInit, wire.FirstAnswer} {
		if got := Classify([]byte{b}); got != Runnel {
			t.Errorf("Classify(%#x) = %v, want %v: it starts a packet of ours", b, got, Runnel)
		}
	}
}

func TestClassString(t *testing.T) {
	for c, want := range map[Class]string{STUN: "stun", Runnel: "runnel", Unknown: "unknown", 77: "Class(77)"} {
		if got := c.String(); got != want {
			t.Errorf("String = %q, want %q", got, want)
		}
	}
}
