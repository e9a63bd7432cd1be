// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package signaling

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestMessageValidation(t *testing.T) {
	tests := []struct {
		name  string
		from  string // of examples
		spoil func(*Message)
	}{
		{"no kind", "offer", func(m *Message) { m.Kind = 0 }},
		{"unknown kind", "offer", func(m *Message) { m.Kind = 9 }},
		{"no attempt", "offer", func(m *Message) { m.Attempt = [16]byte{} }},
		{"before 1970", "offer", func(m *Message) { m.Time = time.UnixMilli(-1) }},
		{"no session", "offer", func(m *Message) { m.Session = 0 }},
		{"no instance", "answer", func(m *Message) { m.Instance = [16]byte{} }},
		{"short ufrag", "offer", func(m *Message) { m.Ufrag = "abc" }},
		{"long ufrag", "offer", func(m *Message) { m.Ufrag = strings.Repeat("a", 257) }},
		{"ufrag with a line break", "offer", func(m *Message) { m.Ufrag = "abcd\r\n" }},
		{"short pwd", "offer", func(m *Message) { m.Pwd = strings.Repeat("a", 21) }},
		{"no fingerprint", "offer", func(m *Message) { m.Fingerprint = [32]byte{} }},
		{"KEM of an answer in an offer", "offer", func(m *Message) { m.KEM = make([]byte, kemCiphertextSize) }},
		{"KEM of an offer in an answer", "answer", func(m *Message) { m.KEM = make([]byte, kemKeySize) }},
		{"no suites", "offer", func(m *Message) { m.Suites = nil }},
		{"two suites in an answer", "answer", func(m *Message) { m.Suites = []string{"a", "b"} }},
		{"nine suites", "offer", func(m *Message) { m.Suites = slices.Repeat([]string{"a"}, 9) }},
		{"suite that is no name", "offer", func(m *Message) { m.Suites = []string{"AES 128"} }},
		{"21 candidates", "candidates", func(m *Message) { m.Candidates = slices.Repeat(m.Candidates, 21) }},
		{"no candidates", "candidates", func(m *Message) { m.Candidates = nil }},
		{"kind of candidate", "candidates", func(m *Message) { m.Candidates[0].Kind = "tcp" }},
		{"no address", "candidates", func(m *Message) { m.Candidates[0].Addr = netip.AddrPort{} }},
		{"port 0", "candidates", func(m *Message) { m.Candidates[0].Addr = netip.MustParseAddrPort("192.0.2.1:0") }},
		{"unspecified", "candidates", func(m *Message) { m.Candidates[0].Addr = netip.MustParseAddrPort("0.0.0.0:1") }},
		{"mapped unspecified", "candidates", func(m *Message) {
			m.Candidates[0].Addr = netip.MustParseAddrPort("[::ffff:0.0.0.0]:1")
		}},
		{"multicast", "candidates", func(m *Message) { m.Candidates[0].Addr = netip.MustParseAddrPort("[ff02::1]:1") }},
		{"broadcast", "candidates", func(m *Message) {
			m.Candidates[0].Addr = netip.MustParseAddrPort("255.255.255.255:1")
		}},
		{"zone", "candidates", func(m *Message) { m.Candidates[0].Addr = netip.MustParseAddrPort("[fe80::1%eth0]:1") }},
		{"candidates with a reason", "candidates", func(m *Message) { m.Reason = "x" }},
		{"candidates with a password", "candidates", func(m *Message) { m.Pwd = "x" }},
		{"offer with a code", "offer", func(m *Message) { m.Code = 1 }},
		{"long reason", "bye", func(m *Message) { m.Reason = strings.Repeat("x", MaxReason+1) }},
		{"reason that is no text", "bye", func(m *Message) { m.Reason = "\xff" }},
		{"bye with candidates", "bye", func(m *Message) { m.End = true }},
		{"move without our session", "move", func(m *Message) { m.Session = 0 }},
		{"move without the peer's session", "move", func(m *Message) { m.PeerSession = 0 }},
		{"move without a number", "move", func(m *Message) { m.Seq = 0 }},
		{"move with a number too large", "move", func(m *Message) { m.Seq = 1 << 62 }},
		{"move with an end", "move", func(m *Message) { m.End = true }},
		{"21 candidates in a move", "move", func(m *Message) { m.Candidates = slices.Repeat(m.Candidates, 21) }},
		{"gone without our session", "gone", func(m *Message) { m.Session = 0 }},
		{"gone without the peer's session", "gone", func(m *Message) { m.PeerSession = 0 }},
		{"gone with a number", "gone", func(m *Message) { m.Seq = 1 }},
		{"gone with an end", "gone", func(m *Message) { m.End = true }},
		{"gone with a reason", "gone", func(m *Message) { m.Reason = "x" }},
		{"candidates with a number", "candidates", func(m *Message) { m.Seq = 1 }},
		{"offer with the peer's session", "offer", func(m *Message) { m.PeerSession = 1 }},
		{"bye with a KEM", "bye", func(m *Message) { m.KEM = []byte{1} }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := examples()[tt.from]
			tt.spoil(m)
			if _, err := Seal(testKey(1), IDFromKey(testKey(2)), m); !errors.Is(err, ErrBadMessage) {
				t.Errorf("Seal: error %v, want ErrBadMessage", err)
			}
			// A sender that does not check, so that the receiver must.
			raw, err := m.marshal()
			if m.Kind == 0 || int(m.Kind) >= len(kindNames) || err != nil {
				return // cannot even be written
			}
			if tt.name == "reason that is no text" {
				return // encoding/json has made text of it
			}
			if tt.name == "kind of candidate" {
				raw = append(raw, ' ') // ignored, and nothing is left
			}
			if _, err := parseBody(raw); !errors.Is(err, ErrBadMessage) {
				t.Errorf("parseBody: error %v, want ErrBadMessage", err)
			}
		})
	}
}

func TestBodyOfLaterVersions(t *testing.T) {
	m := examples()["candidates"]
	raw, err := m.marshal()
	if err != nil {
		t.Fatal(err)
	}
	later := strings.Replace(string(raw), "[{", `[{"kind":"tcp","addr":"who knows"},{`, 1)
	later = strings.Replace(later, "{", `{"colour":["green"],`, 1)
	got, err := parseBody([]byte(later))
	if err != nil || !slices.Equal(got.Candidates, m.Candidates) {
		t.Errorf("%s\nwas read as %+v, %v; want what is unknown ignored", later, got, err)
	}
}

func TestMappedAddressesAreUnmapped(t *testing.T) {
	m := examples()["candidates"]
	m.Candidates[0].Addr = netip.MustParseAddrPort("[::ffff:192.0.2.1]:9")
	bob := testKey(2)
	sealed, err := Seal(testKey(1), IDFromKey(bob), m)
	if err != nil {
		t.Fatal(err)
	}
	_, got, err := Open(bob, sealed)
	if err != nil || got.Candidates[0].Addr != netip.MustParseAddrPort("192.0.2.1:9") {
		t.Errorf("%v, %v; want the IPv4 address", got, err)
	}
}
