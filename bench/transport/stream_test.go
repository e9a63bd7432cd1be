// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"bytes"
	"encoding/binary"
	"io"
	"strings"
	"testing"
)

type readWriter struct {
	io.Reader
	io.Writer
}

func TestFraming(t *testing.T) {
	for _, k := range []Kind{Messages, Buffered} {
		t.Run(k.String(), func(t *testing.T) { testFraming(t, k) })
	}
}

func testFraming(t *testing.T, k Kind) {
	var wire bytes.Buffer
	ch := newStreamChannel(readWriter{smallReads{&wire}, &wire}, k)
	sizes := []int{0, 1, 64, streamBuffer - 4, streamBuffer, 1 << 20}
	for i, n := range sizes {
		if err := ch.Send(bytes.Repeat([]byte{byte(i)}, n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := ch.Flush(); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 128)
	for i, n := range sizes {
		got, err := ch.Recv(buf)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, bytes.Repeat([]byte{byte(i)}, n)) {
			t.Errorf("message %d: %d bytes, want the %d that were sent", i, len(got), n)
		}
	}
	if _, err := ch.Recv(buf); err != io.EOF {
		t.Errorf("after the last message: %v, want io.EOF", err)
	}
}

// smallReads reads little at a time, as networks do.
type smallReads struct{ r io.Reader }

func (h smallReads) Read(p []byte) (int, error) { return h.r.Read(p[:max(1, min(len(p), 1000))]) }

func TestFramingRefusesNonsense(t *testing.T) {
	length := binary.BigEndian.AppendUint32(nil, maxFramed+1)
	ch := newStreamChannel(readWriter{bytes.NewReader(length), io.Discard}, Messages)
	if _, err := ch.Recv(nil); err == nil || !strings.Contains(err.Error(), "bytes") {
		t.Errorf("a message of more than %d bytes: %v, want an error", maxFramed, err)
	}
}

// A writeCounter counts calls of Write.
type writeCounter struct {
	bytes.Buffer
	calls int
}

func (w *writeCounter) Write(p []byte) (int, error) {
	w.calls++
	return w.Buffer.Write(p)
}

// TestMessagesLeaveAtOnce expects a Write for each message, whatever its size, but not for those behind a buffer.
func TestMessagesLeaveAtOnce(t *testing.T) {
	for k := Messages; k < kinds; k++ {
		var wire writeCounter
		ch := newStreamChannel(&wire, k)
		for i, n := range []int{0, 64, 1 << 20} {
			if k == Buffered && n > 64 {
				continue
			}
			if err := ch.Send(make([]byte, n)); err != nil {
				t.Fatal(err)
			}
			if want := i + 1; k != Buffered && wire.calls != want {
				t.Errorf("%v: %d calls of Write for %d messages, want one for each", k, wire.calls, want)
			}
		}
		if k != Buffered {
			continue
		}
		if wire.calls != 0 {
			t.Errorf("%v: %d calls of Write before the buffer was full, want none", k, wire.calls)
		}
		if err := ch.Flush(); err != nil || wire.calls != 1 {
			t.Errorf("%v: %d calls of Write (%v) after Flush, want one", k, wire.calls, err)
		}
	}
}

func TestBulkHasNoFraming(t *testing.T) {
	var wire bytes.Buffer
	ch := newStreamChannel(&wire, Bulk)
	if err := ch.Send([]byte("abc")); err != nil {
		t.Fatal(err)
	}
	if wire.String() != "abc" {
		t.Errorf("%q on the wire at once, want abc alone", wire.String())
	}
}

func TestExpect(t *testing.T) {
	var wire bytes.Buffer
	if err := hello(&wire, Voice); err != nil {
		t.Fatal(err)
	}
	if err := expect(&wire, Bulk); err == nil || !strings.Contains(err.Error(), "voice") {
		t.Errorf("a channel for voice was taken for bulk: %v", err)
	}
}
