// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"errors"
	"testing"
)

func TestFlowChunksGolden(t *testing.T) {
	for _, test := range []struct {
		name string
		got  []byte
	}{
		{"data-whole", (&FlowData{Flow: 5, End: true, Data: []byte("hello")}).Append(nil)},
		{"data-begin", (&FlowData{Flow: 5, Seq: 1, Data: []byte("abc")}).Append(nil)},
		{"data-end", (&FlowData{Flow: 5, Seq: 1, Offset: 3, End: true, Data: []byte("def")}).Append(nil)},
		{"data-empty", (&FlowData{Flow: 5, Seq: 2, End: true}).Append(nil)},
		{"open", (&FlowOpen{Flow: 5, Label: []byte("chat"), Metadata: []byte{1, 2}}).Append(nil)},
		{"open-answer", (&FlowOpen{Flow: 5, Label: []byte("chat"), HasAnswers: true, Answers: 101}).Append(nil)},
		{"open-stream", (&FlowOpen{Flow: 5, Label: []byte("chat"), HasAnswers: true, Answers: 5, Stream: true}).Append(nil)},
		{"flow-end", AppendInts(nil, ChunkFlowEnd, 5, 3, 203)},
		{"flow-abort", AppendInts(nil, ChunkFlowAbort, 5, 7, 203)},
		{"flow-skip", first(AppendFlowSkip(nil, 5, 2, []uint64{164, 0}, 100))},
		{"data-part", (&FlowData{Flow: 5, Seq: 3, End: true, More: true, Data: []byte("xyz")}).Append(nil)},
		{"open-hints", (&FlowOpen{Flow: 5, Label: []byte("chat"), Arrival: true, HasPriority: true, Priority: 1}).Append(nil)},
		{"flow-blocked", AppendInts(nil, ChunkFlowBlocked, 5, InitialFlowWindow)},
		{"session-blocked", AppendInts(nil, ChunkSessionBlocked, InitialSessionWindow)},
		{"flow-reject", AppendInts(nil, ChunkFlowReject, 5, 42)},
		{"flow-window", AppendInts(nil, ChunkFlowWindow, 5, 128<<10)},
		{"session-limits", AppendInts(nil, ChunkSessionLimits, 32<<20, 10_000, 16<<20)},
	} {
		if want := golden(t, test.name); !bytes.Equal(test.got, want) {
			t.Errorf("%s = %x, want %x", test.name, test.got, want)
		}
	}
}

func first(b []byte, _ int) []byte { return b }

func TestFlowSkip(t *testing.T) {
	used := []uint64{0, 64, 0, 1 << 20}
	for limit := range 40 {
		b, n := AppendFlowSkip(nil, 7, 1000, used, limit)
		if len(b) > limit || n == 0 && len(b) > 0 || limit > 20 && n < len(used) {
			t.Fatalf("limit %d: %d messages in %d bytes", limit, n, len(b))
		}
		if n == 0 {
			continue
		}
		_, body, _, err := NextChunk(b)
		if err != nil {
			t.Fatal(err)
		}
		s, err := ParseFlowSkip(body)
		if err != nil || s.Flow != 7 {
			t.Fatalf("ParseFlowSkip = %+v, %v", s, err)
		}
		for i := range n {
			if seq, u, ok := s.Next(); seq != uint64(1000+i) || u != used[i] || !ok {
				t.Errorf("message %d: got %d used %d %v, want %d used %d", i, seq, u, ok, 1000+i, used[i])
			}
		}
		if _, _, ok := s.Next(); ok {
			t.Errorf("limit %d: more than %d messages", limit, n)
		}
	}
	for _, body := range []string{"", "\x05", "\x05\x00", "\x05\x00\x40"} {
		if _, err := ParseFlowSkip([]byte(body)); !errors.Is(err, ErrTruncated) && !errors.Is(err, ErrMalformed) {
			t.Errorf("ParseFlowSkip(%x) = %v", body, err)
		}
	}
}

func TestFlowDataRoom(t *testing.T) {
	for _, d := range []FlowData{{}, {Flow: 1 << 20, Seq: 1 << 40, Offset: 70_000, End: true}} {
		for space := range 20_000 {
			room := d.Room(space)
			if room < 0 {
				if d.Data = nil; len(d.Append(nil)) <= space {
					t.Fatalf("Room(%d) = %d, but an empty chunk fits", space, room)
				}
				continue
			}
			d.Data = make([]byte, room)
			n := len(d.Append(nil))
			d.Data = make([]byte, room+1)
			if more := len(d.Append(nil)); n > space || more <= space {
				t.Fatalf("Room(%d) = %d: chunks of %d and, with one byte more, %d bytes", space, room, n, more)
			}
		}
	}
}

func TestParseFlowData(t *testing.T) {
	for _, in := range []FlowData{
		{Flow: 1, Seq: 2, Offset: 3, End: true, Data: []byte("x")},
		{Flow: MaxVarint, Seq: MaxVarint, Data: []byte("x")},
		{End: true, Data: []byte{}},
	} {
		typ, body, _, err := NextChunk(in.Append(nil))
		if err != nil || !typ.IsFlowData() {
			t.Fatalf("NextChunk: %v, %v", typ, err)
		}
		got, err := ParseFlowData(typ, body)
		if err != nil || got.Flow != in.Flow || got.Seq != in.Seq || got.Offset != in.Offset || got.End != in.End ||
			!bytes.Equal(got.Data, in.Data) {
			t.Errorf("round trip of %+v gave %+v, %v", in, got, err)
		}
	}
	for _, bad := range []string{"", "\x01", "\x01\x40", "\x01\x02"} {
		if _, err := ParseFlowData(ChunkFlowData, []byte(bad)); err == nil {
			t.Errorf("ParseFlowData(%q) succeeded", bad)
		}
	}
	for _, typ := range []ChunkType{0x14, 0x16} { // parts that do not end
		if _, err := ParseFlowData(typ, []byte("\x01\x02\x03x")); !errors.Is(err, ErrMalformed) {
			t.Errorf("ParseFlowData of type %#02x: %v, want ErrMalformed", uint8(typ), err)
		}
	}
}

func TestParseFlowOpenOptions(t *testing.T) {
	head := "\x05\x01a\x00"
	for _, test := range []struct {
		options  string
		critical bool
		err      error
	}{
		{"", false, nil},
		{"\x02\x00", true, nil},
		{"\x1f\x02ab", true, nil},
		{"\x30\x02ab", false, nil},
		{"\x20\x00\x21\x01\x07", false, nil},
		{"\x20\x01a", false, ErrMalformed},
		{"\x21\x01\x08", false, ErrMalformed},
		{"\x7f\xff\x00\x00\x01\x07", false, nil},
		{"\x00\x01\x07\x00\x01\x07", false, ErrMalformed},
		{"\x00\x02\x07\x07", false, ErrMalformed},
		{"\x20\x03ab", false, ErrTruncated},
		{"\x20", false, ErrTruncated},
	} {
		o, err := ParseFlowOpen([]byte(head + test.options))
		if test.err != nil {
			if !errors.Is(err, test.err) {
				t.Errorf("options %q: error %v, want %v", test.options, err, test.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("options %q: %v", test.options, err)
		}
		if o.UnknownCritical != test.critical {
			t.Errorf("options %q: UnknownCritical = %v, want %v", test.options, o.UnknownCritical, test.critical)
		}
	}
	big := (&FlowOpen{Metadata: make([]byte, MaxMetadata+1)}).Append(nil)
	_, body, _, _ := NextChunk(big)
	if _, err := ParseFlowOpen(body); !errors.Is(err, ErrMalformed) {
		t.Errorf("metadata of %d bytes: %v, want ErrMalformed", MaxMetadata+1, err)
	}
	largest := FlowOpen{
		Flow: MaxVarint, Label: make([]byte, MaxLabel), Metadata: make([]byte, MaxMetadata), HasAnswers: true,
		Answers: MaxVarint, Stream: true, Arrival: true, HasPriority: true,
	}
	if n := largest.bodySize(); n > MaxOpenInfo || largest.Size()+50 > MinPayload {
		t.Errorf("the largest opening has %d bytes, want at most %d and room for data", n, MaxOpenInfo)
	}
}

func FuzzParseFlowOpen(f *testing.F) {
	f.Add([]byte("\x05\x01a\x00\x00\x01\x07"))
	f.Fuzz(func(t *testing.T, body []byte) {
		o, err := ParseFlowOpen(body)
		if err != nil {
			return
		}
		_, body, _, _ = NextChunk(o.Append(nil))
		again, err := ParseFlowOpen(body)
		if err != nil || again.Flow != o.Flow || !bytes.Equal(again.Label, o.Label) ||
			!bytes.Equal(again.Metadata, o.Metadata) || again.Answers != o.Answers ||
			again.HasAnswers != o.HasAnswers || again.Stream != o.Stream {
			t.Fatalf("round trip of %+v gave %+v, %v", o, again, err)
		}
	})
}

func FuzzParseFlowData(f *testing.F) {
	f.Add(uint8(0x13), []byte("\x05\x01\x07data"))
	f.Fuzz(func(t *testing.T, typ uint8, body []byte) {
		if !ChunkType(typ).IsFlowData() {
			return
		}
		d, err := ParseFlowData(ChunkType(typ), body)
		if err != nil {
			return
		}
		nt, nb, _, err := NextChunk(d.Append(nil))
		again, err2 := ParseFlowData(nt, nb)
		if err != nil || err2 != nil || again.Flow != d.Flow || again.Seq != d.Seq || again.Offset != d.Offset ||
			again.End != d.End || !bytes.Equal(again.Data, d.Data) {
			t.Fatalf("round trip of %+v gave %+v, %v, %v", d, again, err, err2)
		}
	})
}
