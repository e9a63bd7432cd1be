// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !pionnext

package stunx

import (
	"bytes"
	"testing"

	"github.com/pion/stun"
)

// The newest library has neither of these defects any more, so there is no such file for it.

// The library must still have the defect, or the filter has lost its reason and this test its meaning.
func TestCrashDatagramPanicsTheLibrary(t *testing.T) {
	b := crash()
	if len(b) != 32 {
		t.Fatalf("crash datagram has %d bytes, want 32", len(b))
	}
	m := &stun.Message{Raw: b}
	if err := m.Decode(); err != nil {
		t.Fatalf("the library refuses the datagram by itself now: %v", err)
	}
	defer func() {
		if recover() == nil {
			t.Error("pion/stun survives the empty address value; the filter may be reconsidered")
		}
	}()
	var a stun.XORMappedAddress
	_ = a.GetFromAs(m, stun.AttrXORPeerAddress)
}

// Attributes behind MESSAGE-INTEGRITY are visible to the library although nobody signed them.
func TestTrailingAttributeFoolsTheLibrary(t *testing.T) {
	key := []byte("secret")
	b := NewBuilder(nil, Binding, Request, NewTransaction()).AddIntegrity(key).Add(0x0025, nil).Bytes()
	m := &stun.Message{Raw: bytes.Clone(b)}
	if err := m.Decode(); err != nil {
		t.Fatal(err)
	}
	if err := stun.MessageIntegrity(key).Check(m); err != nil || !m.Contains(stun.AttrUseCandidate) {
		t.Errorf("library: check = %v, contains = %v; want the defect", err, m.Contains(stun.AttrUseCandidate))
	}
	if Sane(b) {
		t.Error("the filter lets an unsigned USE-CANDIDATE pass")
	}
}
