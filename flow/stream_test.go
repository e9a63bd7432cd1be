// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// streams returns the two ends of a stream over c.
func streams(t *testing.T, c *conn) (opener, acceptor *Stream) {
	t.Helper()
	s, err := c.a.Open("stream", &Options{Returns: 1})
	if err != nil {
		t.Fatal(err)
	}
	s.Announce()
	r, err := c.b.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	back, err := c.b.Open("", &Options{Answers: r})
	if err != nil {
		t.Fatal(err)
	}
	return NewStream(s, nil), NewStream(back, r)
}

func TestStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newConn(t, Config{}, Config{})
		defer c.end()
		a, b := streams(t, c)
		want := pattern(300_000, 1)
		go func() {
			if n, err := a.Write(want); n != len(want) || err != nil {
				t.Errorf("Write = %d, %v", n, err)
			}
			if err := a.CloseWrite(); err != nil {
				t.Errorf("CloseWrite: %v", err)
			}
		}()
		got, err := io.ReadAll(b)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("read %d bytes, %v, want %d", len(got), err, len(want))
		}
		if _, err := b.Write([]byte("thanks")); err != nil {
			t.Errorf("Write back: %v", err)
		}
		if err := b.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if got, err := io.ReadAll(a); err != nil || string(got) != "thanks" {
			t.Errorf("read %q, %v, want thanks", got, err)
		}
		if _, err := a.Write(want); !errors.Is(err, ErrClosed) {
			t.Errorf("Write after CloseWrite: %v, want ErrClosed", err)
		}
		if err := a.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if _, err := a.Read(make([]byte, 1)); !errors.Is(err, ErrClosed) {
			t.Errorf("Read after Close: %v, want ErrClosed", err)
		}
	})
}

func TestStreamDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newConn(t, Config{}, Config{})
		defer c.end()
		a, b := streams(t, c)
		buf := make([]byte, 10)
		start := time.Now()
		a.SetReadDeadline(start.Add(time.Second))
		_, err := a.Read(buf) // waits for the answering flow
		var timeout interface{ Timeout() bool }
		if !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("Read past its deadline: %v, want one that is a timeout", err)
		}
		if d := time.Since(start); d != time.Second {
			t.Errorf("Read returned after %v, want 1s", d)
		}
		// A deadline set while Read waits takes effect.
		b.SetDeadline(time.Now().Add(time.Hour))
		time.AfterFunc(time.Second, func() { b.SetReadDeadline(time.Now().Add(time.Second)) })
		start = time.Now()
		if _, err := b.Read(buf); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 2*time.Second {
			t.Errorf("Read with a deadline moved closer: %v after %v, want 2s", err, time.Since(start))
		}
		// One in the past fails even if data is at hand, and one taken away does not.
		if _, err := b.Write([]byte("data")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		a.SetReadDeadline(time.Now().Add(-time.Second))
		if _, err := a.Read(buf); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Read with a deadline in the past: %v", err)
		}
		a.SetReadDeadline(time.Time{})
		if n, err := a.Read(buf); err != nil || string(buf[:n]) != "data" {
			t.Errorf("Read without deadline: %q, %v", buf[:n], err)
		}
		// Write blocks when nobody reads, and obeys its deadline.
		b.SetWriteDeadline(time.Now().Add(3 * time.Second))
		n, err := b.Write(make([]byte, 8<<20))
		if !errors.Is(err, context.DeadlineExceeded) || n == 0 || n >= 8<<20 {
			t.Errorf("Write = %d, %v, want a part and a timeout", n, err)
		}
		// Close unblocks.
		time.AfterFunc(time.Second, func() { b.Close() })
		b.SetReadDeadline(time.Time{})
		if _, err := b.Read(buf); !errors.Is(err, ErrClosed) {
			t.Errorf("Read while Close: %v, want ErrClosed", err)
		}
		a.Close()
	})
}

// TestStreamAnswerAndClose has the acceptor answer and close at once: the refusal of what the opener might still say may
// arrive before the answer, and must not keep it out.
func TestStreamAnswerAndClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newConn(t, Config{}, Config{})
		defer c.end()
		a, b := streams(t, c)
		if _, err := b.Write([]byte("no")); err != nil {
			t.Fatal(err)
		}
		b.Close()
		if got, err := io.ReadAll(a); err != nil || string(got) != "no" {
			t.Errorf("read %q, %v, want what was written before Close", got, err)
		}
		if err := a.Close(); err != nil {
			t.Errorf("Close: %v, want nil though the peer has refused our direction", err)
		}
	})
}

// TestStreamCloseBeforeAnswer closes a stream the peer has not answered yet.
func TestStreamCloseBeforeAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newConn(t, Config{}, Config{})
		defer c.end()
		s, _ := c.a.Open("", &Options{Returns: 1})
		a := NewStream(s, nil)
		if _, err := a.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		a.Close()
		r, err := c.b.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		back, _ := c.b.Open("", &Options{Answers: r})
		b := NewStream(back, r)
		if got, err := io.ReadAll(b); err != nil || string(got) != "x" {
			t.Errorf("read %q, %v, want what was written before Close", got, err)
		}
		b.Write([]byte("y"))
		time.Sleep(time.Second)
		var rejected *RejectedError
		if _, err := b.Write([]byte("y")); !errors.As(err, &rejected) {
			t.Errorf("Write to a closed stream: %v, want a RejectedError", err)
		}
		b.Close()
	})
}

// TestStreamWithGap has the peer abandon a part of a stream: what is behind must not be read as if it followed.
func TestStreamWithGap(t *testing.T) {
	f := newFeed(t, Config{})
	f.must((&wire.FlowOpen{Stream: true, Arrival: true}).Append(nil), data(0, 0, 0, 3, true), data(0, 2, 0, 3, true), skip(0, 1, 0))
	s, err := f.m.Open("", nil)
	if err != nil {
		t.Fatal(err)
	}
	st := NewStream(s, f.accept())
	if got, err := io.ReadAll(st); len(got) != 3 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("read %d bytes, %v, want 3 and io.ErrUnexpectedEOF", len(got), err)
	}
}
