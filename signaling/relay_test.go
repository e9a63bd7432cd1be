// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package signaling

import (
	"errors"
	"testing"
)

func TestParseRelayURL(t *testing.T) {
	tests := []struct {
		in   string
		want string // empty: an error
	}{
		{"turn:203.0.113.5:3478?transport=udp", "turn:203.0.113.5:3478?transport=udp"},
		{"turn:203.0.113.5:3478?transport=tcp", "turn:203.0.113.5:3478?transport=tcp"},
		{"turn:relay.example", "turn:relay.example:3478?transport=udp"},
		{"turns:relay.example", "turns:relay.example:5349?transport=tcp"},
		{"turns:relay.example:443?transport=tcp", "turns:relay.example:443?transport=tcp"},
		{"turn:[2001:db8::1]", "turn:[2001:db8::1]:3478?transport=udp"},
		{"turn:[2001:db8::1]:9", "turn:[2001:db8::1]:9?transport=udp"},
		{"", ""},
		{"turn:", ""},
		{"turn::3478", ""},
		{"turn://relay.example", ""},
		{"stun:relay.example", ""},
		{"turn:2001:db8::1", ""},
		{"turn:relay.example:0", ""},
		{"turn:relay.example:65536", ""},
		{"turn:relay.example?transport=sctp", ""},
		{"turn:relay.example?transport=udp&x=y", ""},
		{"turns:relay.example?transport=udp", ""},
		{"turn:user@relay.example", ""},
	}
	for _, tt := range tests {
		a, err := ParseRelayURL(tt.in)
		if tt.want == "" {
			if !errors.Is(err, ErrBadRelayURL) {
				t.Errorf("ParseRelayURL(%q) = %v, %v; want ErrBadRelayURL", tt.in, a, err)
			}
			continue
		}
		if err != nil || a.String() != tt.want {
			t.Errorf("ParseRelayURL(%q) = %v, %v; want %s", tt.in, a, err, tt.want)
			continue
		}
		if again, err := ParseRelayURL(a.String()); err != nil || again != a {
			t.Errorf("%q is read back as %v, %v", a, again, err)
		}
	}
}
