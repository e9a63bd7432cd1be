// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package signaling

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestPeerIDText(t *testing.T) {
	for n := range byte(50) {
		id := IDFromKey(testKey(n))
		s := id.String()
		if len(s) != 56 {
			t.Fatalf("%q has %d characters, want 56", s, len(s))
		}
		for _, text := range []string{s, strings.ToUpper(s)} {
			got, err := ParsePeerID(text)
			if err != nil || got != id {
				t.Errorf("ParsePeerID(%q) = %v, %v; want the ID it came from", text, got, err)
			}
		}
		if !strings.HasPrefix(s, id.Short()) || len(id.Short()) != 8 {
			t.Errorf("Short() = %q, want the first 8 characters of %q", id.Short(), s)
		}
	}
}

func TestParsePeerIDSaysWhatIsWrong(t *testing.T) {
	good := IDFromKey(testKey(1)).String()
	flip := func(s string, i int) string {
		c := byte('a')
		if s[i] == c {
			c = 'b'
		}
		return s[:i] + string(c) + s[i+1:]
	}
	text := func(key string) string {
		b, err := hex.DecodeString(key)
		if err != nil {
			t.Fatal(err)
		}
		return PeerID(b).String()
	}
	tests := []struct{ name, in, want string }{
		{"empty", "", "0 characters, not 56"},
		{"short", good[:55], "55 characters"},
		{"long", good + "a", "57 characters"},
		{"digit that is no base32", "1" + good[1:], "character 1 is '1'"},
		{"space", good[:10] + " " + good[11:], "character 11 is ' '"},
		{"mistyped", flip(good, 20), "checksum"},
		{"mistyped checksum", flip(good, 55), "checksum"},
		{"not on the curve", text("0200000000000000000000000000000000000000000000000000000000000000"), "not a point"},
		{"identity", text("0100000000000000000000000000000000000000000000000000000000000000"), "small order"},
		{"zero", text("0000000000000000000000000000000000000000000000000000000000000000"), "small order"},
		{"order 2", text("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"), "small order"},
		{"order 8", text("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "small order"},
		{"y = p + 1", text("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"), "canonical"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParsePeerID(tt.in)
			if !errors.Is(err, ErrBadPeerID) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %q, want one that says %q", err, tt.want)
			}
		})
	}
}

func TestPeerIDInJSON(t *testing.T) {
	type config struct{ Peers map[PeerID]string }
	in := config{map[PeerID]string{IDFromKey(testKey(1)): "one"}}
	b, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var out config
	if err := json.Unmarshal(b, &out); err != nil || out.Peers[IDFromKey(testKey(1))] != "one" {
		t.Errorf("%s became %v, %v", b, out, err)
	}
	if err := json.Unmarshal([]byte(`{"Peers":{"x":"y"}}`), &out); !errors.Is(err, ErrBadPeerID) {
		t.Errorf("bad ID in JSON: error %v, want ErrBadPeerID", err)
	}
}

func TestPeerIDOrder(t *testing.T) {
	a, b := PeerID{1}, PeerID{2}
	if a.Compare(b) >= 0 || b.Compare(a) <= 0 || a.Compare(a) != 0 {
		t.Error("Compare does not order by bytes")
	}
	if !(PeerID{}).IsZero() || a.IsZero() {
		t.Error("IsZero is wrong")
	}
	if got := IDFromKey(nil); !got.IsZero() {
		t.Errorf("IDFromKey(nil) = %v, want the zero ID", got)
	}
}

func FuzzParsePeerID(f *testing.F) {
	f.Add(IDFromKey(testKey(1)).String())
	f.Add("")
	f.Add(strings.Repeat("a", 56))
	f.Add(strings.Repeat("\xff", 56))
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ParsePeerID(s)
		if err != nil {
			if !errors.Is(err, ErrBadPeerID) || !id.IsZero() {
				t.Fatalf("%v, %v: want ErrBadPeerID and no ID", id, err)
			}
			return
		}
		if got := id.String(); got != strings.ToLower(s) {
			t.Fatalf("%q parsed and written is %q", s, got)
		}
	})
}
