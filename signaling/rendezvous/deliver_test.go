// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package rendezvous_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/seed-98f0d4c2/runnel/signaling"
	"github.com/seed-98f0d4c2/runnel/signaling/internal/rvproto"
	"github.com/seed-98f0d4c2/runnel/signaling/rendezvous"
)

// unlimited lets tests send as fast as they like.
var unlimited = rendezvous.Limits{
	MessageRate: -1, SendRate: -1, TargetRate: -1, ConnectRate: -1, ConnectionsPerIP: -1,
}

func TestSend(t *testing.T) {
	inLab(t, nil, func(t *testing.T, l *lab) {
		a, b := l.join(nil, nil), l.join(nil, nil)
		payload := []byte("hi")
		if err := a.Send(t.Context(), b.ID(), payload); err != nil {
			t.Fatal(err)
		}
		payload[0] = 'x' // Send must have made a copy
		e, err := b.Recv(t.Context())
		if err != nil || string(e.Payload) != "hi" || e.From != a.ID() || e.To != b.ID() {
			t.Errorf("%+v, %v; want the envelope", e, err)
		}
		if err := a.Send(t.Context(), a.ID(), []byte("self")); err != nil {
			t.Error(err)
		}
		if e, err := a.Recv(t.Context()); err != nil || string(e.Payload) != "self" {
			t.Errorf("to oneself: %+v, %v", e, err)
		}
	})
}

// Unknown and gone are one answer, and it is the next frame.
func TestNotFoundAtOnce(t *testing.T) {
	inLab(t, nil, func(t *testing.T, l *lab) {
		gone := l.join(nil, nil)
		gone.Close()
		synctest.Wait()
		r := l.raw()
		r.register()
		start := time.Now()
		for seq, to := range []signaling.PeerID{gone.ID(), signaling.IDFromKey(l.key())} {
			r.write(&rvproto.Frame{Type: rvproto.TypeSend, Seq: uint64(seq) + 1, To: to.String()})
			f := r.want("send", rvproto.TypeAck)
			if f.Seq != uint64(seq)+1 || f.Result != rvproto.ResultNotFound {
				t.Errorf("ack %+v, want not_found", f)
			}
		}
		if d := time.Since(start); d != 0 {
			t.Errorf("the answers took %v, want no time but the network's", d)
		}
	})
}

func TestPresence(t *testing.T) {
	inLab(t, nil, func(t *testing.T, l *lab) {
		a, b := l.join(nil, nil), l.join(nil, nil)
		for _, tt := range []struct {
			id   signaling.PeerID
			want bool
		}{{b.ID(), true}, {a.ID(), true}, {signaling.IDFromKey(l.key()), false}} {
			if got, err := a.Online(t.Context(), tt.id); err != nil || got != tt.want {
				t.Errorf("Online = %v, %v; want %v", got, err, tt.want)
			}
		}
	})
}

func TestSendLimits(t *testing.T) {
	inLab(t, nil, func(t *testing.T, l *lab) {
		a, b, c := l.join(nil, nil), l.join(nil, nil), l.join(nil, nil)
		send := func(why string, from, to *peer, want error) {
			t.Helper()
			if err := from.Send(t.Context(), to.ID(), nil); !errors.Is(err, want) || want == nil && err != nil {
				t.Fatalf("%s: error %v, want %v", why, err, want)
			}
		}
		for i := range 20 {
			send(fmt.Sprintf("%d of the burst", i), a, b, nil)
		}
		send("after the burst", a, b, signaling.ErrRateLimited)
		send("another pair", a, c, nil)
		send("the other direction", b, a, nil)
		if _, err := a.Online(t.Context(), b.ID()); !errors.Is(err, signaling.ErrRateLimited) {
			t.Errorf("Online: error %v; want it to count as a send", err)
		}
		time.Sleep(200 * time.Millisecond)
		send("a fifth of a second later", a, b, nil)
		send("and no more", a, b, signaling.ErrRateLimited)
		if s := l.srv.Stats(); s.LimitedPair != 3 {
			t.Errorf("LimitedPair = %d, want 3", s.LimitedPair)
		}
	})
}

// Many keys are cheap to make, so what one peer gets from all is limited too.
func TestTargetLimit(t *testing.T) {
	inLab(t, &rendezvous.Config{Limits: rendezvous.Limits{ConnectRate: -1}}, func(t *testing.T, l *lab) {
		b := l.join(nil, nil)
		limited := 0
		for range 10 {
			a := l.join(nil, nil)
			for range 10 {
				if err := a.Send(t.Context(), b.ID(), nil); errors.Is(err, signaling.ErrRateLimited) {
					limited++
				} else if err != nil {
					t.Fatal(err)
				}
			}
		}
		if limited != 40 || l.srv.Stats().LimitedTarget != 40 {
			t.Errorf("%d of 100 refused, %d counted; want 40, after a burst of 60", limited, l.srv.Stats().LimitedTarget)
		}
	})
}

// A client that sends too fast is read more slowly and loses nothing.
func TestMessagePacing(t *testing.T) {
	inLab(t, nil, func(t *testing.T, l *lab) {
		r := l.raw()
		r.register()
		start := time.Now()
		go func() {
			for id := range uint64(600) {
				b, _ := rvproto.Encode(&rvproto.Frame{Type: rvproto.TypePing, ID: id + 1})
				if err := r.ws.Write(t.Context(), websocket.MessageText, b); err != nil {
					t.Error(err)
					return
				}
			}
		}()
		for id := range uint64(600) {
			if f := r.want("ping", rvproto.TypePong); f.ID != id+1 {
				t.Fatalf("pong %d, want %d", f.ID, id+1)
			}
		}
		if d := time.Since(start).Round(100 * time.Millisecond); d != 10*time.Second {
			t.Errorf("600 messages took %v, want 10 s: a burst of 100 and then 50 a second", d)
		}
	})
}

func TestTooLarge(t *testing.T) {
	inLab(t, nil, func(t *testing.T, l *lab) {
		a, b := l.join(nil, nil), l.join(nil, nil)
		if err := a.Send(t.Context(), b.ID(), make([]byte, signaling.MaxPayload)); err != nil {
			t.Errorf("the largest payload: %v", err)
		}
		if e, err := b.Recv(t.Context()); err != nil || len(e.Payload) != signaling.MaxPayload {
			t.Errorf("the largest payload arrived as %d bytes, %v", len(e.Payload), err)
		}
		if err := a.Send(t.Context(), b.ID(), make([]byte, signaling.MaxPayload+1)); !errors.Is(err, signaling.ErrTooLarge) {
			t.Errorf("one byte more: error %v, want ErrTooLarge", err)
		}
		r := l.raw()
		r.register()
		r.write(&rvproto.Frame{Type: rvproto.TypeSend, Seq: 1, To: b.ID().String(), Payload: make([]byte, signaling.MaxPayload+1)})
		if f := r.want("a client that does not check", rvproto.TypeAck); f.Result != rvproto.ResultTooLarge {
			t.Errorf("ack %+v, want too_large", f)
		}
		go r.ws.Write(t.Context(), websocket.MessageText, make([]byte, rvproto.MaxFrame+1)) // the server stops reading in it
		r.wantClose("oversize frame", websocket.StatusMessageTooBig)
	})
}

func TestViolationsAfterRegistration(t *testing.T) {
	tests := []struct{ name, text string }{
		{"not JSON", "{"},
		{"hello again", `{"type":"hello","version":1}`},
		{"send without seq", `{"type":"send","to":"x"}`},
		{"confirmation of what was never sent", `{"type":"received","seen":5}`},
		{"payload that is no base64", `{"type":"send","seq":1,"to":"x","payload":"%"}`},
		{"number too large", `{"type":"ping","id":1e400}`},
		{"deep nesting", `{"type":"ping","x":` + strings.Repeat("[", 16000) + "}"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inLab(t, nil, func(t *testing.T, l *lab) {
				r := l.raw()
				r.register()
				r.text(tt.text)
				r.want(tt.name, rvproto.TypeError)
				r.wantClose(tt.name, rvproto.CloseProtocol)
			})
		})
	}
	t.Run("binary", func(t *testing.T) {
		inLab(t, nil, func(t *testing.T, l *lab) {
			r := l.raw()
			r.register()
			if err := r.ws.Write(t.Context(), websocket.MessageBinary, []byte("{}")); err != nil {
				t.Fatal(err)
			}
			r.wantClose("binary", rvproto.CloseProtocol)
		})
	})
	t.Run("recipient that is no peer ID", func(t *testing.T) {
		inLab(t, nil, func(t *testing.T, l *lab) {
			r := l.raw()
			r.register()
			r.text(`{"type":"send","seq":1,"to":"x"}`)
			if f := r.want("send", rvproto.TypeAck); f.Result != rvproto.ResultInvalid {
				t.Errorf("ack %+v, want invalid", f)
			}
		})
	})
}

// What is sent to a client that is away for less than the window arrives when it is back.
func TestMailbox(t *testing.T) {
	inLab(t, &rendezvous.Config{Limits: unlimited}, func(t *testing.T, l *lab) {
		a, b := l.join(nil, nil), l.join(nil, nil)
		l.setDown(true)
		b.cut()
		synctest.Wait()
		if s := l.srv.Stats(); s.Detached != 1 {
			t.Fatalf("%+v: want one session without connection", s)
		}
		for i := range 32 {
			if err := a.Send(t.Context(), b.ID(), []byte{byte(i)}); err != nil {
				t.Fatalf("envelope %d: %v", i, err)
			}
		}
		if err := a.Send(t.Context(), b.ID(), nil); !errors.Is(err, signaling.ErrBusy) {
			t.Errorf("beyond the mailbox: error %v, want ErrBusy", err)
		}
		if online, err := a.Online(t.Context(), b.ID()); !online || err != nil {
			t.Errorf("Online = %v, %v; want true, for it can be sent to", online, err)
		}
		l.setDown(false)
		for i := range 32 {
			e, err := b.Recv(t.Context())
			if err != nil || e.Payload[0] != byte(i) {
				t.Fatalf("envelope %d: %v, %v", i, e.Payload, err)
			}
		}
		if s := b.Stats(); s.Resumed != 1 || s.Connects != 2 {
			t.Errorf("%+v, want a resumption", s)
		}
		synctest.Wait()
		if s := l.srv.Stats(); s.BufferedBytes != 0 || s.Delivered != 32 || s.Dropped != 0 {
			t.Errorf("%+v, want everything delivered and nothing kept", s)
		}
	})
}

func TestSessionExpires(t *testing.T) {
	inLab(t, nil, func(t *testing.T, l *lab) {
		a, b := l.join(nil, nil), l.join(nil, nil)
		l.setDown(true)
		b.cut()
		synctest.Wait()
		time.Sleep(30*time.Second - time.Nanosecond)
		if err := a.Send(t.Context(), b.ID(), nil); err != nil {
			t.Errorf("just before the end: %v", err)
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if err := a.Send(t.Context(), b.ID(), nil); !errors.Is(err, signaling.ErrNotFound) {
			t.Errorf("after the end: error %v, want ErrNotFound", err)
		}
		if s := l.srv.Stats(); s.Expired != 1 || s.Dropped != 1 || s.BufferedBytes != 0 || s.Sessions != 1 {
			t.Errorf("%+v, want one expired with one envelope", s)
		}
		l.setDown(false)
		time.Sleep(2 * time.Minute)
		if s := b.Stats(); !s.Connected || s.Resumed != 0 {
			t.Errorf("%+v, want a new session", s)
		}
	})
}

// A process that starts again within the window gets what was sent to the one before.
func TestMailboxOfRestartedProcess(t *testing.T) {
	inLab(t, nil, func(t *testing.T, l *lab) {
		a, r := l.join(nil, nil), l.raw()
		r.register()
		r.ws.CloseNow()
		synctest.Wait()
		if err := a.Send(t.Context(), r.id(), []byte("x")); err != nil {
			t.Fatal(err)
		}
		again := l.join(r.key, nil)
		if e, err := again.Recv(t.Context()); err != nil || string(e.Payload) != "x" {
			t.Errorf("%+v, %v; want the envelope", e, err)
		}
	})
}

// A token is worth nothing without the key, and no other session's token is.
func TestForeignToken(t *testing.T) {
	inLab(t, nil, func(t *testing.T, l *lab) {
		victim := l.raw()
		token := victim.register().Resume
		thief := l.raw()
		f := thief.sign(thief.hello())
		f.Resume = token
		thief.write(f)
		if got := thief.want("register", rvproto.TypeRegistered); got.Resumed {
			t.Error("a session was resumed with another peer's token")
		}
		victim.write(&rvproto.Frame{Type: rvproto.TypePing, ID: 1})
		victim.want("the victim is still there", rvproto.TypePong)
	})
}

// TestNothingLostOrTwice breaks connections at random while two peers send to each other.
func TestNothingLostOrTwice(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inLab(t, &rendezvous.Config{Limits: unlimited}, func(t *testing.T, l *lab) {
				rng := rand.New(rand.NewPCG(seed, 1))
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
				defer cancel()
				peers := []*peer{l.join(nil, nil), l.join(nil, nil)}
				const n = 200
				var wg sync.WaitGroup
				for i, p := range peers {
					to := peers[1-i].ID()
					pauses := rand.New(rand.NewPCG(seed, uint64(i)))
					wg.Go(func() {
						for k := range uint64(n) {
							for {
								err := p.Send(ctx, to, binary.BigEndian.AppendUint64(nil, k))
								if errors.Is(err, signaling.ErrBusy) {
									time.Sleep(time.Second)
									continue
								}
								if err != nil {
									t.Errorf("send %d: %v", k, err)
									return
								}
								break
							}
							time.Sleep(time.Duration(pauses.IntN(50)) * time.Millisecond)
						}
					})
					wg.Go(func() {
						for k := range uint64(n) {
							e, err := p.Recv(ctx)
							if err != nil || binary.BigEndian.Uint64(e.Payload) != k {
								t.Errorf("received %x, %v; want number %d", e.Payload, err, k)
								return
							}
						}
					})
				}
				done := make(chan struct{})
				go func() {
					wg.Wait()
					close(done)
				}()
				for cuts := 0; ; cuts++ {
					select {
					case <-done:
						t.Logf("%d cuts; %d and %d resumptions", cuts, peers[0].Stats().Resumed, peers[1].Stats().Resumed)
						return
					case <-time.After(time.Duration(rng.IntN(1000)) * time.Millisecond):
						peers[rng.IntN(2)].cut()
					}
				}
			})
		})
	}
}

// A client that does not take what is sent to it is given up, and nobody else notices.
func TestSlowConsumer(t *testing.T) {
	c := &rendezvous.Config{Limits: unlimited}
	inLab(t, c, func(t *testing.T, l *lab) {
		a, b, slow := l.join(nil, nil), l.join(nil, nil), l.raw()
		slow.register() // and reads no more
		start := time.Now()
		var err error
		n := 0
		for ; err == nil; n++ {
			err = a.Send(t.Context(), slow.id(), make([]byte, 1000))
		}
		if !errors.Is(err, signaling.ErrBusy) || n != 65 {
			t.Errorf("envelope %d: error %v; want ErrBusy for the 65th", n, err)
		}
		if err := a.Send(t.Context(), b.ID(), nil); err != nil {
			t.Errorf("to another peer: %v", err)
		}
		if d := time.Since(start); d != 0 {
			t.Errorf("senders waited %v for the slow one", d)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if s := l.srv.Stats(); s.Slow != 1 || s.Connections != 2 || s.Detached != 1 || s.BufferedBytes > 64*1000 {
			t.Errorf("%+v, want the slow one disconnected, and what it has not confirmed kept", s)
		}
	})
}

// A full queue makes senders wait; only a client that confirms nothing for long is disconnected.
func TestBusyIsNotSlow(t *testing.T) {
	inLab(t, &rendezvous.Config{Limits: unlimited}, func(t *testing.T, l *lab) {
		a, b := l.join(nil, nil), l.raw()
		b.register()
		var read atomic.Int64
		ended := make(chan error, 1)
		go func() {
			for {
				if _, _, err := b.ws.Read(t.Context()); err != nil {
					ended <- err
					return
				}
				read.Add(1)
			}
		}()
		send := func() error { return a.Send(t.Context(), b.id(), nil) }
		for range 64 {
			if err := send(); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if read.Load() != 64 {
			t.Fatalf("%d envelopes arrived, want 64", read.Load())
		}
		time.Sleep(9 * time.Second)
		if err := send(); !errors.Is(err, signaling.ErrBusy) {
			t.Errorf("nothing is confirmed: error %v, want ErrBusy", err)
		}
		b.write(&rvproto.Frame{Type: rvproto.TypeReceived, Seen: 1})
		synctest.Wait()
		if err := send(); err != nil {
			t.Errorf("one is confirmed: %v", err)
		}
		time.Sleep(9 * time.Second)
		if err := send(); !errors.Is(err, signaling.ErrBusy) || l.srv.Stats().Slow != 0 {
			t.Errorf("error %v, %d disconnected; want ErrBusy alone", err, l.srv.Stats().Slow)
		}
		time.Sleep(time.Second)
		if err := send(); !errors.Is(err, signaling.ErrBusy) {
			t.Errorf("error %v, want ErrBusy", err)
		}
		if err := <-ended; websocket.CloseStatus(err) != rvproto.CloseSlow {
			t.Errorf("ended with %v, want close code 4008 after 10 s without confirmation", err)
		}
		synctest.Wait()
		if s := l.srv.Stats(); s.Slow != 1 {
			t.Errorf("%d counted as slow, want 1", s.Slow)
		}
	})
}

func TestSlowConsumerInBytes(t *testing.T) {
	inLab(t, &rendezvous.Config{Limits: unlimited}, func(t *testing.T, l *lab) {
		a, slow := l.join(nil, nil), l.raw()
		slow.register()
		n := 0
		for a.Send(t.Context(), slow.id(), make([]byte, signaling.MaxPayload)) == nil {
			n++
		}
		if n != 256<<10/signaling.MaxPayload {
			t.Errorf("%d large envelopes accepted, want as many as fit 256 KiB", n)
		}
	})
}

func TestBufferIsBoundedForAll(t *testing.T) {
	limits := unlimited
	limits.BufferedBytes = 10_000
	inLab(t, &rendezvous.Config{Limits: limits}, func(t *testing.T, l *lab) {
		a, b := l.join(nil, nil), l.join(nil, nil)
		for range 3 {
			r := l.raw()
			r.register()
			if err := a.Send(t.Context(), r.id(), make([]byte, 3000)); err != nil {
				t.Fatal(err)
			}
		}
		if err := a.Send(t.Context(), b.ID(), make([]byte, 3000)); !errors.Is(err, signaling.ErrBusy) {
			t.Errorf("beyond the bound: error %v, want ErrBusy", err)
		}
	})
}

// An application that does not call Recv harms itself alone, and is told how much.
func TestInboxIsBounded(t *testing.T) {
	inLab(t, &rendezvous.Config{Limits: unlimited}, func(t *testing.T, l *lab) {
		a, b := l.join(nil, nil), l.join(nil, nil)
		for i := range uint64(300) {
			err := a.Send(t.Context(), b.ID(), binary.BigEndian.AppendUint64(nil, i))
			for errors.Is(err, signaling.ErrBusy) {
				synctest.Wait() // until all before it are confirmed
				err = a.Send(t.Context(), b.ID(), binary.BigEndian.AppendUint64(nil, i))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if got := b.Stats().Dropped; got != 44 {
			t.Errorf("%d of 300 dropped, want 44 beyond an inbox of 256", got)
		}
		for i := range uint64(256) {
			e, err := b.Recv(t.Context())
			if err != nil || binary.BigEndian.Uint64(e.Payload) != i {
				t.Fatalf("%x, %v; want number %d: the newest are dropped", e.Payload, err, i)
			}
		}
		if s := l.srv.Stats(); s.Slow != 0 || s.Connections != 2 {
			t.Errorf("%+v, want the connection to live on", s)
		}
	})
}

func TestSendWaitsForConnection(t *testing.T) {
	inLab(t, nil, func(t *testing.T, l *lab) {
		b := l.join(nil, nil)
		l.setDown(true)
		a := l.enter(nil, nil)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		err := a.Send(ctx, b.ID(), nil)
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, errDown) {
			t.Errorf("error %q, want the deadline and what the last attempt failed with", err)
		}
		if _, err := a.Services(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Services: error %v, want the deadline", err)
		}
		go func() {
			time.Sleep(time.Minute)
			l.setDown(false)
		}()
		if err := a.Send(t.Context(), b.ID(), []byte("late")); err != nil {
			t.Error(err)
		}
		if e, err := b.Recv(t.Context()); err != nil || string(e.Payload) != "late" {
			t.Errorf("%+v, %v; want only the second envelope", e, err)
		}
	})
}

func TestCloseEndsCalls(t *testing.T) {
	inLab(t, nil, func(t *testing.T, l *lab) {
		l.setDown(true)
		p := l.enter(nil, nil)
		errs := make(chan error, 3)
		go func() { errs <- p.Send(t.Context(), p.ID(), nil) }()
		go func() { _, err := p.Recv(t.Context()); errs <- err }()
		go func() { _, err := p.Services(t.Context()); errs <- err }()
		synctest.Wait()
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		for range 3 {
			if err := <-errs; !errors.Is(err, signaling.ErrClosed) || !errors.Is(err, net.ErrClosed) {
				t.Errorf("a blocked call ended with %v, want ErrClosed", err)
			}
		}
		if err := p.Send(t.Context(), p.ID(), nil); !errors.Is(err, signaling.ErrClosed) {
			t.Errorf("Send after Close: error %v, want ErrClosed", err)
		}
		if err := p.Close(); err != nil {
			t.Errorf("second Close: %v", err)
		}
	})
}
