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
	var wire bytes.Buffer
	ch := newStreamChannel(readWriter{smallReads{&wire}, &wire}, Messages)
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
