// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// Writes stay in one piece although another waits for its turn and the deadline moves meanwhile.
func TestStreamWritesStayWhole(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, far, s := callPair(t, nil)
		l, err := far.Listener("x")
		if err != nil {
			t.Fatal(err)
		}
		c, err := s.OpenStream("x")
		if err != nil {
			t.Fatal(err)
		}
		const size = 4 << 20
		var writers sync.WaitGroup
		for _, letter := range "abc" {
			writers.Go(func() {
				if n, err := c.Write(bytes.Repeat([]byte{byte(letter)}, size)); n != size || err != nil {
					t.Errorf("writing %c: %d, %v; want all", letter, n, err)
				}
			})
		}
		written := make(chan struct{})
		var mover sync.WaitGroup
		mover.Go(func() {
			for {
				select {
				case <-written:
					return
				case <-time.After(time.Millisecond):
				}
				if err := c.SetWriteDeadline(time.Now().Add(time.Hour)); err != nil {
					t.Error(err)
				}
			}
		})
		go func() {
			writers.Wait()
			close(written)
			_ = c.CloseWrite()
		}()
		other, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(other)
		if err != nil || len(got) != 3*size {
			t.Fatalf("%d bytes arrived, %v; want %d", len(got), err, 3*size)
		}
		mover.Wait()
		for i := 0; i < len(got); i += size {
			if n := bytes.Count(got[i:i+size], got[i:i+1]); n != size {
				t.Errorf("of the %d bytes from %d on, %d are from one Write, want all", size, i, n)
			}
		}
	})
}

// What has been delivered can be read although the session has ended before the stream was accepted.
func TestStreamAcceptedAfterTheSession(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, far, s := callPair(t, nil)
		l, err := far.Listener("listener")
		if err != nil {
			t.Fatal(err)
		}
		back, err := far.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		send(t, s, "listener", "to the listener")
		send(t, s, "session", "to the session")
		if err := s.Close(t.Context()); err != nil {
			t.Fatalf("closing: %v, want that everything was delivered", err)
		}
		<-back.Done()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		c, err := l.AcceptStream(ctx)
		if err != nil {
			t.Fatalf("accepting from the listener: %v, want the stream that was delivered", err)
		}
		if got, err := io.ReadAll(c); err != nil || string(got) != "to the listener" {
			t.Errorf("the listener's stream says %q, %v; want what was sent", got, err)
		}
		c, err = back.AcceptStream(ctx)
		if err != nil {
			t.Fatalf("accepting from the session: %v, want the stream that was delivered", err)
		}
		if got, err := io.ReadAll(c); err != nil || string(got) != "to the session" {
			t.Errorf("the session's stream says %q, %v; want what was sent", got, err)
		}
		if _, err := c.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("writing to it: %v, want net.ErrClosed", err)
		}
		if err := errors.Join(c.CloseWrite(), c.Close()); err != nil {
			t.Errorf("closing it: %v", err)
		}
		if _, err := back.AcceptStream(ctx); !errors.Is(err, net.ErrClosed) {
			t.Errorf("with none left: %v, want why the session ended", err)
		}
	})
}
