// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
)

// Done tells of a flow's end although messages are still at hand, and Err why.
func TestReceiverDone(t *testing.T) {
	var aborted *AbortedError
	for _, test := range []struct {
		name string
		end  func(c *conn, s *Sender, r *Receiver)
		is   func(error) bool
	}{
		{"close", func(_ *conn, s *Sender, _ *Receiver) { _ = s.Close(context.Background()) }, func(err error) bool { return errors.Is(err, io.EOF) }},
		{"abort", func(_ *conn, s *Sender, _ *Receiver) { s.Abort(7) }, func(err error) bool { return errors.As(err, &aborted) && aborted.Code == 7 }},
		{"reject", func(_ *conn, _ *Sender, r *Receiver) { r.Reject(1) }, func(err error) bool { return errors.Is(err, ErrClosed) }},
		{"session", func(c *conn, _ *Sender, _ *Receiver) { c.end(); c.b.Close(epoch, errConnOver) }, func(err error) bool { return errors.Is(err, errConnOver) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newConn(t, Config{}, Config{})
				s, err := c.a.Open("x", nil)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := s.Send(t.Context(), []byte("at hand")); err != nil {
					t.Fatal(err)
				}
				r, err := c.b.Accept(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				done := r.Done()
				synctest.Wait()
				select {
				case <-done:
					t.Fatal("done while messages may still arrive")
				default:
				}
				if err := r.Err(); err != nil {
					t.Errorf("error is %v while messages may still arrive, want nil", err)
				}
				test.end(c, s, r)
				<-done
				<-r.Done() // one that is asked for later, too
				if err := r.Err(); !test.is(err) {
					t.Errorf("error is %v, which is not why the flow ended", err)
				}
				if test.name != "reject" {
					if m, err := r.Recv(t.Context()); err != nil || string(m.Data) != "at hand" {
						t.Errorf("received %q, %v; want what was at hand", m.Data, err)
					}
				}
			})
		})
	}
}
