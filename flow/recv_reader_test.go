// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"bytes"
	"context"
	"errors"
	"hash/crc32"
	"io"
	"runtime"
	"testing"
	"testing/iotest"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// parts sends a message in parts, of which the first has a number.
func (f *feed) parts(first uint64, texts ...string) {
	f.t.Helper()
	for i, text := range texts {
		d := wire.FlowData{Seq: first + uint64(i), End: true, More: i < len(texts)-1, Data: []byte(text)}
		f.must(d.Append(nil))
	}
}

// wantRead checks what a reader reads, and how.
func wantRead(t *testing.T, r *Receiver, want string, wantErr ...error) *MessageReader {
	t.Helper()
	mr, err := r.NextReader(over)
	if err != nil {
		t.Fatalf("NextReader: %v, want %q", err, want)
	}
	got, err := io.ReadAll(mr)
	if string(got) != want || len(wantErr) == 0 && err != nil {
		t.Errorf("read %q, %v, want %q", got, err, want)
	}
	for _, e := range wantErr {
		if !errors.Is(err, e) {
			t.Errorf("read %q, %v, want an error that is %v", got, err, e)
		}
	}
	return mr
}

func TestNextReader(t *testing.T) {
	f := newFeed(t, Config{})
	f.must(open(0))
	r := f.accept()
	f.parts(0, "one")
	f.parts(1, "t", "", "w", "o")
	f.parts(5, "")
	f.parts(6, "thr", "ee")
	f.parts(8, "4")
	wantRead(t, r, "one")
	if mr := wantRead(t, r, "two"); mr.Seq() != 1 {
		t.Errorf("reader of message %d, want 1", mr.Seq())
	}
	wantRead(t, r, "")
	mr, err := r.NextReader(over)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if n, err := mr.WriteTo(&b); n != 5 || err != nil || b.String() != "three" {
		t.Errorf("WriteTo = %d, %v, %q, want three", n, err, b.String())
	}
	if n, err := mr.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("Read at the end = %d, %v, want io.EOF", n, err)
	}
	if msg, err := r.Recv(over); err != nil || string(msg.Data) != "4" || msg.More {
		t.Errorf("Recv = %+v, %v", msg, err)
	}
	// Recv returns the parts.
	f.parts(9, "a", "b")
	for i, more := range []bool{true, false} {
		if msg, err := r.Recv(over); err != nil || msg.Seq != uint64(9+i) || msg.More != more {
			t.Errorf("Recv = %+v, %v, want message %d, more %v", msg, err, 9+i, more)
		}
	}
	// A part of many packets, and a reader that waits.
	long := pattern(5000, 1)
	f.must((&wire.FlowData{Seq: 11, End: true, More: true, Data: long[:1000]}).Append(nil))
	if mr, err = r.NextReader(over); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(mr)
	if !errors.Is(err, context.Canceled) || len(got) != 1000 {
		t.Errorf("read %d bytes, %v, want 1000 and the context's error", len(got), err)
	}
	f.must((&wire.FlowData{Seq: 12, Offset: 1000, End: true, Data: long[2000:]}).Append(nil),
		(&wire.FlowData{Seq: 12, Data: long[1000:2000]}).Append(nil))
	rest, err := io.ReadAll(iotest.OneByteReader(mr))
	if got = append(got, rest...); err != nil || !bytes.Equal(got, long) {
		t.Errorf("read %d bytes in all, %v, want %d", len(got), err, len(long))
	}
	f.must(ints(wire.ChunkFlowEnd, 0, 13, r.used))
	if _, err := r.NextReader(over); err != io.EOF {
		t.Errorf("NextReader at the end: %v, want io.EOF", err)
	}
	f.wantBalance(r, r.used, 0)
}

// TestReaderCutOff ends messages before their last part.
func TestReaderCutOff(t *testing.T) {
	f := newFeed(t, Config{})
	f.must(open(0))
	r := f.accept()
	// Abandoned in the middle, the rest being complete: it must not be taken for a message.
	f.must(part(0, 0, 0, 3), part(0, 2, 0, 3), data(0, 3, 0, 3, true))
	f.must(skip(0, 1, 0, wire.MessageCost+3, wire.MessageCost+3))
	f.parts(4, "next")
	wantRead(t, r, "\x00\x00\x00", io.ErrUnexpectedEOF, ErrAbandoned)
	wantRead(t, r, "next")
	// Abandoned from the first part on.
	f.must(part(0, 6, 0, 3), data(0, 7, 0, 3, true), skip(0, 5, 0, wire.MessageCost+3, wire.MessageCost+3))
	f.parts(8, "next")
	wantRead(t, r, "next")
	// A message that was complete when it was abandoned is a message.
	f.must(data(0, 10, 0, 3, true), skip(0, 10, wire.MessageCost+3))
	f.parts(9, "before")
	wantRead(t, r, "before")
	wantRead(t, r, "\x00\x00\x00")
	// Given up by the reader: what is left of it is dropped.
	f.parts(11, "a", "b", "c")
	f.parts(14, "d")
	mr, err := r.NextReader(over)
	if err != nil {
		t.Fatal(err)
	}
	wantRead(t, r, "d")
	if _, err := io.Copy(io.Discard, mr); !errors.Is(err, errReaderReplaced) {
		t.Errorf("reading on with an old reader: %v, want %v", err, errReaderReplaced)
	}
	// Parts make no sense in order of arrival.
	r.SetOrdering(Arrival)
	if _, err := r.NextReader(over); !errors.Is(err, errReaderOrder) {
		t.Errorf("NextReader in order of arrival: %v, want %v", err, errReaderOrder)
	}
	r.SetOrdering(Ordered)
	f.m.collect()
	f.parts(15, "x", "y", "z")
	f.must(part(0, 18, 0, 2))
	wantRead(t, r, "xyz")
	f.must(ints(wire.ChunkFlowAbort, 0, 7, r.used))
	var aborted *AbortedError
	mr = wantRead(t, r, "\x00\x00", io.ErrUnexpectedEOF)
	if _, err := mr.Read(make([]byte, 1)); !errors.As(err, &aborted) || aborted.Code != 7 {
		t.Errorf("Read after the abort: %v, want an AbortedError with code 7", err)
	}
	f.wantBalance(r, r.used, 0)

	f = newFeed(t, Config{})
	f.must(open(0), part(0, 0, 0, 2), ints(wire.ChunkFlowEnd, 0, 1, wire.MessageCost+2))
	r = f.accept()
	if mr := wantRead(t, r, "\x00\x00", io.ErrUnexpectedEOF); errors.Is(mr.err, io.EOF) {
		t.Errorf("a flow that ends within a message: %v, want no io.EOF", mr.err)
	}
}

// TestStreamingMemory streams a message far larger than memory should be through one reader.
func TestStreamingMemory(t *testing.T) {
	const size, part, packet = 256 << 20, 16 << 10, 1024
	f := newFeed(t, Config{})
	f.must(open(0))
	r := f.accept()
	sent, got := crc32.NewIEEE(), crc32.NewIEEE()
	random := pattern(1<<20, 1)
	var mr *MessageReader
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var pn uint64
	buf, scratch := make([]byte, 0, 1200), make([]byte, 0, 1200)
	most := uint64(0)
	read := func() {
		if mr == nil {
			var err error
			if mr, err = r.NextReader(over); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := mr.WriteTo(got); !errors.Is(err, context.Canceled) {
			t.Fatalf("WriteTo: %v", err)
		}
	}
	for off := 0; off < size; off += packet {
		d := wire.FlowData{Seq: uint64(off / part), Offset: uint64(off % part), Data: random[off%(1<<20)+0:][:packet]}
		d.End = off%part+packet == part
		d.More = d.End && off+packet < size
		sent.Write(d.Data)
		if r.granted-r.used < 2*packet { // the reader is always late
			read()
			f.m.Append(epoch, pn, scratch, 1171)
			pn++
		}
		buf = d.Append(buf[:0])
		_, body, _, _ := wire.NextChunk(buf)
		if err := f.m.HandleChunk(epoch, wire.ChunkType(buf[0]), body); err != nil {
			t.Fatalf("at %d: %v", off, err)
		}
		f.m.HandlePacketEnd(epoch, uint64(off/packet), true, wire.NotECT)
		most = max(most, f.m.recvUsed-f.m.recvConsumed-f.m.readBytes.Load())
	}
	if _, err := mr.WriteTo(got); err != nil {
		t.Fatalf("WriteTo at the end: %v", err)
	}
	runtime.ReadMemStats(&after)
	if sent.Sum32() != got.Sum32() {
		t.Error("what was read is not what was sent")
	}
	if most > f.m.config.recvWindow()+part+wire.MessageCost {
		t.Errorf("%d bytes held, want no more than the window of %d and a part", most, f.m.config.recvWindow())
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > size/8 && !raceEnabled {
		t.Errorf("%d MiB allocated for 256 MiB, want far less", n>>20)
	}
}
