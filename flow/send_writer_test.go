// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// TestSendFrom sends messages larger than any buffer, between ordinary ones, while the peer reads them as streams.
func TestSendFrom(t *testing.T) {
	for _, size := range []int{0, 1, maxPart - 1, maxPart, maxPart + 1, 3 * maxPart, 20 << 20} {
		synctest.Test(t, func(t *testing.T) {
			c := newConn(t, Config{}, Config{})
			defer c.end()
			s, err := c.a.Open("file", &Options{SendBuffer: 200_000, StartWithin: time.Nanosecond, Transmits: 1})
			if err != nil {
				t.Fatal(err)
			}
			data := pattern(size, 3)
			done := make(chan error, 1)
			go func() {
				_, err := s.Send(t.Context(), []byte("before"), StartWithin(0), Transmits(0))
				if err != nil {
					done <- err
					return
				}
				receipt, err := s.SendFrom(t.Context(), bytes.NewReader(data))
				if err != nil {
					done <- err
					return
				}
				if _, err := s.Send(t.Context(), []byte("after"), StartWithin(0), Transmits(0)); err != nil {
					done <- err
					return
				}
				if err := receipt.Wait(t.Context()); err != nil {
					t.Errorf("%d bytes: receipt: %v", size, err)
				}
				done <- s.Close(t.Context())
			}()
			r, err := c.b.Accept(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for i, want := range [][]byte{[]byte("before"), data, []byte("after")} {
				mr, err := r.NextReader(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				h := sha256.New()
				n, err := io.Copy(h, mr)
				if sum := sha256.Sum256(want); err != nil || int(n) != len(want) || !bytes.Equal(h.Sum(nil), sum[:]) {
					t.Errorf("%d bytes, message %d: %d bytes and %v, want the %d sent", size, i, n, err, len(want))
				}
			}
			if _, err := r.NextReader(t.Context()); !errors.Is(err, io.EOF) {
				t.Errorf("after the last message: %v, want EOF", err)
			}
			if err := <-done; err != nil {
				t.Errorf("%d bytes: %v", size, err)
			}
		})
	}
}

// TestWriterKeepsOthersWaiting checks that Send, TrySend and a second writer wait for a message that is being written.
func TestWriterKeepsOthersWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newConn(t, Config{}, Config{})
		defer c.end()
		s, err := c.a.Open("", nil)
		if err != nil {
			t.Fatal(err)
		}
		unused := s.Writer(t.Context()) // holds nobody up
		w := s.Writer(t.Context())
		if _, err := w.Write([]byte("one")); err != nil {
			t.Fatal(err)
		}
		if _, err := s.TrySend(nil); !errors.Is(err, ErrWouldBlock) {
			t.Errorf("TrySend while a message is being written: %v, want ErrWouldBlock", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.Send(ctx, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Send while a message is being written: %v, want the context's error", err)
		}
		if err := s.WaitWritable(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("WaitWritable while a message is being written: %v, want the context's error", err)
		}
		sent := make(chan error, 1)
		go func() {
			_, err := s.SendFrom(t.Context(), bytes.NewReader([]byte("three")))
			sent <- err
		}()
		synctest.Wait()
		closed := make(chan error, 1)
		if _, err := w.Write([]byte("two")); err != nil {
			t.Fatal(err)
		}
		if w.Receipt() != nil {
			t.Error("there is a receipt before the message ends")
		}
		if err := w.Close(); err != nil || w.Close() != nil {
			t.Errorf("Close: %v, want nil, twice", err)
		}
		if err := <-sent; err != nil {
			t.Errorf("the message that waited: %v", err)
		}
		if err := w.Receipt().Wait(t.Context()); err != nil {
			t.Errorf("receipt: %v", err)
		}
		if got, want := w.Receipt().Seq(), uint64(2); got != want {
			t.Errorf("the last part is message %d, want %d", got, want)
		}
		if _, err := w.Write(nil); !errors.Is(err, errWriterOver) {
			t.Errorf("Write after Close: %v", err)
		}
		// Close of the flow lets a message that has been begun be finished.
		if _, err := unused.Write([]byte("last")); err != nil {
			t.Fatal(err)
		}
		go func() { closed <- s.Close(t.Context()) }()
		synctest.Wait()
		if _, err := s.Send(t.Context(), nil); !errors.Is(err, ErrClosed) {
			t.Errorf("Send after Close: %v, want ErrClosed", err)
		}
		if _, err := unused.Write([]byte(" words")); err != nil {
			t.Errorf("Write of a message begun before Close: %v", err)
		}
		if err := unused.Close(); err != nil {
			t.Errorf("Close of a message begun before: %v", err)
		}
		r, err := c.b.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"onetwo", "three", "last words"} {
			mr, err := r.NextReader(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(mr); string(got) != want || err != nil {
				t.Errorf("received %q, %v, want %q", got, err, want)
			}
		}
		if err := <-closed; err != nil {
			t.Errorf("Close of the flow: %v", err)
		}
	})
}

// TestReceiptOfPartsIsSentWithTheLast looks at the receipt of a message in parts when the first of them has been sent.
func TestReceiptOfPartsIsSentWithTheLast(t *testing.T) {
	p := newPair(t, Config{}, Config{})
	s := p.open(p.a, "", nil)
	r, err := s.SendFrom(over, bytes.NewReader(make([]byte, 3*maxPart)))
	if err != nil {
		t.Fatal(err)
	}
	p.until(time.Minute, "the second part has begun", func() bool { return s.next == 1 && s.message(1).started })
	if r.Sent() {
		t.Error("the message is said to have been sent whole though two parts have not")
	}
	p.accept(p.b)
	p.until(time.Minute, "all parts have been sent", func() bool { return s.next == 4 })
	if !r.Sent() || r.Seq() != 3 {
		t.Errorf("message %d sent: %v, want 3 and true", r.Seq(), r.Sent())
	}
}

// TestTraceNumbersPartsThatWereNeverTaken has the peer refuse a flow while the loop has yet to see a message in parts.
func TestTraceNumbersPartsThatWereNeverTaken(t *testing.T) {
	var got []uint64
	p := newPair(t, Config{Trace: &Trace{MessageAbandoned: func(e MessageAbandoned) { got = append(got, e.Seq) }}}, Config{})
	s := p.open(p.a, "", nil)
	p.send1(s, nil)
	p.flush(p.a)
	if _, err := s.SendFrom(over, bytes.NewReader(make([]byte, 2*maxPart))); err != nil {
		t.Fatal(err)
	}
	if err := p.a.m.handleReject(0, 1); err != nil {
		t.Fatal(err)
	}
	if want := []uint64{0, 1, 2, 3}; !slices.Equal(got, want) {
		t.Errorf("messages %v were abandoned, want %v", got, want)
	}
}

// TestCutOff breaks messages off before and after something was sent.
func TestCutOff(t *testing.T) {
	broken := errors.New("broken")
	t.Run("nothing sent", func(t *testing.T) {
		p := newPair(t, Config{}, Config{})
		s := p.open(p.a, "", nil)
		if _, err := s.SendFrom(over, iotest.ErrReader(broken)); !errors.Is(err, broken) {
			t.Errorf("SendFrom: %v, want the reader's error", err)
		}
		s.Writer(over).Abort(1)
		r, err := s.TrySend([]byte("unharmed"))
		if err != nil {
			t.Fatal(err)
		}
		p.run(time.Second)
		wantReason(t, r, NotAbandoned)
	})
	for _, how := range []string{"reader fails", "abort", "context", "flow aborted"} {
		t.Run(how, func(t *testing.T) {
			p := newPair(t, Config{}, Config{})
			s := p.open(p.a, "", &Options{SendBuffer: 100_000})
			before, err := s.TrySend([]byte("before"))
			if err != nil {
				t.Fatal(err)
			}
			code := uint64(wire.CodeFlowCutOff)
			half := io.MultiReader(bytes.NewReader(make([]byte, maxPart)), iotest.ErrReader(broken))
			w := s.Writer(over)
			switch how {
			case "reader fails":
				if _, err := s.SendFrom(over, half); !errors.Is(err, broken) {
					t.Errorf("SendFrom: %v, want the reader's error", err)
				}
			case "abort":
				code = 77
				if _, err := w.Write([]byte("half")); err != nil {
					t.Fatal(err)
				}
				w.Abort(code)
			case "context":
				n, err := w.Write(make([]byte, 300_000))
				if !errors.Is(err, context.Canceled) || n != 2*maxPart {
					t.Errorf("Write: %d, %v, want two parts and the context's error", n, err)
				}
				if err := w.Close(); !errors.Is(err, context.Canceled) || w.Receipt() != nil {
					t.Errorf("Close after a Write that failed: %v, receipt %v", err, w.Receipt())
				}
			case "flow aborted":
				code = 5
				if _, err := w.Write([]byte("half")); err != nil {
					t.Fatal(err)
				}
				p.run(time.Millisecond)
				s.Abort(code)
				p.run(time.Millisecond)
				if _, err := w.Write([]byte("more")); !errors.Is(err, ErrClosed) {
					t.Errorf("Write on an aborted flow: %v, want ErrClosed", err)
				}
			}
			if _, err := s.TrySend(nil); !errors.Is(err, ErrClosed) {
				t.Errorf("TrySend after the message was cut off: %v, want ErrClosed", err)
			}
			in := p.accept2(p.b)
			p.run(5 * time.Second)
			if before.Outcome() == Pending {
				t.Error("an earlier message is still pending")
			}
			if in != nil {
				_, err := p.recvErr(in)
				var aborted *AbortedError
				if !errors.As(err, &aborted) || aborted.Code != code {
					t.Errorf("the peer sees %v, want an abort with code %#x", err, code)
				}
			}
			p.wantNoLeak()
		})
	}
}

// accept2 is accept for a flow that may never arrive.
func (p *pair) accept2(s *side) *Receiver {
	p.run(time.Second)
	r, _ := s.m.Accept(over)
	return r
}

// TestWaitWritableDuringAMessage: there is room, but Send would wait for the message that is being written; so does
// WaitWritable.
func TestWaitWritableDuringAMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newConn(t, Config{}, Config{})
		defer c.end()
		s, err := c.a.Open("file", nil)
		if err != nil {
			t.Fatal(err)
		}
		w := s.Writer(t.Context())
		if err := s.WaitWritable(over); err != nil {
			t.Errorf("before the message is begun: %v, want room", err)
		}
		if _, err := w.Write([]byte("some")); err != nil {
			t.Fatal(err)
		}
		if err := s.WaitWritable(over); !errors.Is(err, context.Canceled) {
			t.Errorf("while it is written: %v, want it to wait", err)
		}
		if _, err := s.TrySend([]byte("other")); !errors.Is(err, ErrWouldBlock) {
			t.Errorf("TrySend while it is written: %v, want ErrWouldBlock", err)
		}
		waited := make(chan error, 1)
		go func() { waited <- s.WaitWritable(t.Context()) }()
		synctest.Wait()
		select {
		case err := <-waited:
			t.Fatalf("WaitWritable has returned (%v) while the message is written", err)
		default:
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-waited; err != nil {
			t.Errorf("after it has ended: %v, want room", err)
		}
		if _, err := s.TrySend([]byte("other")); err != nil {
			t.Errorf("TrySend after it has ended: %v", err)
		}
	})
}
