// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"bytes"
	"encoding/hex"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/flow"
)

// The examples of docs/PROTOCOL.md §9, "Calls".
func TestCallExamples(t *testing.T) {
	for _, test := range []struct {
		hex  string
		want callHeader
	}{
		{"08 00 04 6563686f", callHeader{method: "echo"}},
		{"09 43e8 04 77617463 0102", callHeader{stream: true, timeout: time.Second, method: "watc", metadata: []byte{1, 2}}},
		{"04 4064 00", callHeader{priority: 2, timeout: 99*time.Millisecond + 1}},
	} {
		b, err := hex.DecodeString(strings.ReplaceAll(test.hex, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		if got := test.want.append(nil); !bytes.Equal(got, b) {
			t.Errorf("%+v is written as %x, want %x", test.want, got, b)
		}
		want := test.want
		want.timeout = (want.timeout + time.Millisecond - 1).Truncate(time.Millisecond)
		got, err := parseCallHeader(b)
		got.metadata = append([]byte(nil), got.metadata...)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s is read as %+v, %v; want %+v", test.hex, got, err, want)
		}
	}
	for _, test := range []struct {
		hex  string
		want callStatus
	}{
		{"", callStatus{}},
		{"00 01", callStatus{code: CallNotFound}},
		{"01 47d0 6e6f", callStatus{code: 2000, ran: true, text: "no"}},
	} {
		b, err := hex.DecodeString(strings.ReplaceAll(test.hex, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		if got := test.want.append(nil); !bytes.Equal(got, b) {
			t.Errorf("%+v is written as %x, want %x", test.want, got, b)
		}
		if got, err := parseCallStatus(b); err != nil || got != test.want {
			t.Errorf("%s is read as %+v, %v; want %+v", test.hex, got, err, test.want)
		}
	}
}

// The largest call and the largest error fit the metadata of a flow.
func TestCallFitsMetadata(t *testing.T) {
	h := callHeader{
		stream: true, timeout: 1<<63 - 1, method: strings.Repeat("m", MaxMethod), metadata: make([]byte, MaxCallMetadata),
	}
	if n := len(h.append(nil)); n > flow.MaxMetadata {
		t.Errorf("the largest call takes %d bytes, at most %d may be", n, flow.MaxMetadata)
	}
	st := callStatus{code: 1<<64 - 1, ran: true, text: strings.Repeat("é", 1000)}
	if n := len(st.append(nil)); n > flow.MaxMetadata {
		t.Errorf("the largest error takes %d bytes, at most %d may be", n, flow.MaxMetadata)
	}
}

// Whatever a peer sends in place of a call or a status is refused or means the same when written again.
func FuzzCallWire(f *testing.F) {
	for _, s := range []string{"", "0800046563686f", "0943e804776174630102", "0001", "0147d06e6f", "ff", "08ffffffffffffffff00", "0101" + strings.Repeat("ff61", 300)} {
		b, _ := hex.DecodeString(s)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := parseCallHeader(b); err == nil {
			again, err := parseCallHeader(h.append(nil))
			if err != nil || !reflect.DeepEqual(again, h) && len(h.metadata)+len(again.metadata) > 0 {
				t.Errorf("%x is read as %+v, and again as %+v, %v", b, h, again, err)
			}
		}
		if st, err := parseCallStatus(b); err == nil {
			if again, err := parseCallStatus(st.append(nil)); err != nil || again != st {
				t.Errorf("%x is read as %+v, and again as %+v, %v", b, st, again, err)
			}
		}
	})
}
