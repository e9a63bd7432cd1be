// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package rendezvous_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-98f0d4c2/runnel/signaling"
	"github.com/seed-98f0d4c2/runnel/signaling/internal/rvproto"
	"github.com/seed-98f0d4c2/runnel/signaling/rendezvous"
)

func TestRegister(t *testing.T) {
	inLab(t, nil, func(t *testing.T, l *lab) {
		r := l.raw()
		ch := r.hello()
		if ch.Server != labName || ch.Version != 1 || len(ch.Challenge) != 32 || ch.Time != time.Now().UnixMilli() {
			t.Errorf("challenge %+v", ch)
		}
		r.write(r.sign(ch))
		f := r.want("right signature", rvproto.TypeRegistered)
		if f.Epoch == 0 || f.Resumed || len(f.Resume) != 32 || f.Time != time.Now().UnixMilli() {
			t.Errorf("registered %+v", f)
		}
		r.write(&rvproto.Frame{Type: rvproto.TypeVerify})
		if v := r.want("verify", rvproto.TypeVerified); v.Epoch != f.Epoch {
			t.Errorf("verified epoch %d, want %d", v.Epoch, f.Epoch)
		}
	})
}

// TestImpersonation is what somebody can try who wants to be registered as a peer whose key he does not have.
func TestImpersonation(t *testing.T) {
	tests := []struct {
		name  string
		forge func(l *lab, r *raw, ch *rvproto.Frame) *rvproto.Frame
	}{
		{"unsigned", func(_ *lab, r *raw, ch *rvproto.Frame) *rvproto.Frame {
			f := r.sign(ch)
			f.Signature = make([]byte, 64)
			return f
		}},
		{"signature by another key", func(l *lab, r *raw, ch *rvproto.Frame) *rvproto.Frame {
			f := r.sign(ch)
			f.Peer = signaling.IDFromKey(l.key()).String()
			return f
		}},
		{"signature for another server", func(_ *lab, r *raw, ch *rvproto.Frame) *rvproto.Frame {
			other := *ch
			other.Server = "evil.test"
			return r.sign(&other)
		}},
		{"signature of another challenge", func(_ *lab, r *raw, ch *rvproto.Frame) *rvproto.Frame {
			other := *ch
			other.Challenge = make([]byte, 32)
			return r.sign(&other)
		}},
		{"signature of another time", func(_ *lab, r *raw, ch *rvproto.Frame) *rvproto.Frame {
			other := *ch
			other.Time++
			return r.sign(&other)
		}},
		{"signature without domain", func(_ *lab, r *raw, ch *rvproto.Frame) *rvproto.Frame {
			f := r.sign(ch)
			_, in, _ := strings.Cut(string(rvproto.AuthInput(ch.Server, ch.Challenge, ch.Time)), "\x00")
			f.Signature = ed25519.Sign(r.key, []byte(in))
			return f
		}},
		{"registration recorded on another connection", func(l *lab, r *raw, _ *rvproto.Frame) *rvproto.Frame {
			victim := l.raw()
			f := victim.sign(victim.hello())
			victim.write(f)
			victim.want("the victim itself", rvproto.TypeRegistered)
			return f
		}},
		{"key for which anybody can sign", func(_ *lab, _ *raw, _ *rvproto.Frame) *rvproto.Frame {
			id := signaling.PeerID{1}
			return &rvproto.Frame{
				Type: rvproto.TypeRegister, Peer: id.String(), Signature: append(id[:], make([]byte, 32)...),
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inLab(t, nil, func(t *testing.T, l *lab) {
				r := l.raw()
				f := tt.forge(l, r, r.hello())
				before := l.srv.Stats().Sessions
				r.write(f)
				if e := r.want("forged", rvproto.TypeError); e.Code != rvproto.CodeUnauthorized {
					t.Errorf("error %+v, want unauthorized", e)
				}
				r.wantClose("forged", rvproto.CloseAuth)
				if got := l.srv.Stats().Sessions; got != before {
					t.Errorf("%d sessions, want %d as before", got, before)
				}
			})
		})
	}
}

// A server that forwards the challenge of another one to its own client, to register there as it, must get no signature.
func TestClientRefusesForeignChallenge(t *testing.T) {
	inLab(t, nil, func(t *testing.T, l *lab) {
		p := l.enter(nil, &signaling.ClientConfig{ServerName: "other.test"})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := p.Send(ctx, p.ID(), nil)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "calls itself") {
			t.Errorf("error %q, want a deadline and the reason", err)
		}
		if s := l.srv.Stats(); s.Registered != 0 || s.Unauthorized != 0 {
			t.Errorf("%d registrations, %d signatures; want none", s.Registered, s.Unauthorized)
		}
	})
}

func TestReplacement(t *testing.T) {
	inLab(t, nil, func(t *testing.T, l *lab) {
		older := l.join(nil, nil)
		newer := l.join(older.key, nil)
		if _, err := older.Recv(t.Context()); !errors.Is(err, signaling.ErrReplaced) {
			t.Errorf("Recv of the older: error %v, want ErrReplaced", err)
		}
		if err := older.Send(t.Context(), older.ID(), nil); !errors.Is(err, signaling.ErrReplaced) {
			t.Errorf("Send of the older: error %v, want ErrReplaced", err)
		}
		if a, b := older.Stats().Epoch, newer.Stats().Epoch; a >= b {
			t.Errorf("epochs %d, then %d; want them to grow", a, b)
		}
		time.Sleep(10 * time.Minute) // the older one must not come back
		if s := l.srv.Stats(); s.Replaced != 1 || s.Sessions != 1 || s.Registered != 2 {
			t.Errorf("%+v, want one replacement and nothing after", s)
		}
		if got := newer.Stats().Connects; got != 1 {
			t.Errorf("the newer connected %d times, want once", got)
		}
		other := l.join(nil, nil)
		if err := other.Send(t.Context(), newer.ID(), []byte("x")); err != nil {
			t.Error(err)
		}
		if _, err := newer.Recv(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestRegisterTimeout(t *testing.T) {
	inLab(t, nil, func(t *testing.T, l *lab) {
		r := l.raw()
		r.hello()
		start := time.Now()
		if _, _, err := r.ws.Read(t.Context()); err == nil {
			t.Error("got a frame, want the connection to end")
		}
		if got := time.Since(start); got != 10*time.Second {
			t.Errorf("given up after %v, want 10 s", got)
		}
	})
}

func TestUnregisteredAreFew(t *testing.T) {
	inLab(t, &rendezvous.Config{Limits: rendezvous.Limits{Connections: 30}}, func(t *testing.T, l *lab) {
		for range 3 {
			l.raw()
		}
		p := l.enter(nil, nil)
		synctest.Wait()
		if p.Stats().Connected || l.srv.Stats().RefusedFull == 0 {
			t.Errorf("%+v: the fourth that did not register was let in", l.srv.Stats())
		}
		time.Sleep(time.Minute) // the three are thrown out, and Retry-After is over
		if !p.Stats().Connected {
			t.Errorf("still not connected: %v", p.Stats().LastErr)
		}
	})
}

func TestHandshakeViolations(t *testing.T) {
	tests := []struct{ name, text, code string }{
		{"not JSON", "hello", rvproto.CodeProtocol},
		{"array", "[]", rvproto.CodeProtocol},
		{"two values", `{"type":"hello","version":1}{}`, rvproto.CodeProtocol},
		{"no version", `{"type":"hello"}`, rvproto.CodeProtocol},
		{"register first", `{"type":"register"}`, rvproto.CodeProtocol},
		{"send first", `{"type":"send","seq":1,"to":"x"}`, rvproto.CodeProtocol},
		{"negative version", `{"type":"hello","version":-1}`, rvproto.CodeProtocol},
		{"control characters", `{"type":"hello","version":1,"agent":"a\u001b[2J"}`, rvproto.CodeProtocol},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inLab(t, nil, func(t *testing.T, l *lab) {
				r := l.raw()
				r.text(tt.text)
				if e := r.want(tt.name, rvproto.TypeError); e.Code != tt.code {
					t.Errorf("error %+v, want code %s", e, tt.code)
				}
				r.wantClose(tt.name, rvproto.CloseProtocol)
				if got := l.srv.Stats().Malformed; got != 1 {
					t.Errorf("%d counted as malformed, want 1", got)
				}
			})
		})
	}
}

func TestUnknownFieldsAndTypesAreIgnored(t *testing.T) {
	inLab(t, nil, func(t *testing.T, l *lab) {
		r := l.raw()
		r.text(`{"type":"greetings"}`)
		r.text(`{"type":"hello","version":7,"colour":{"deep":[1,2]}}`)
		ch := r.want("a client of a later version", rvproto.TypeChallenge)
		if ch.Version != 1 {
			t.Errorf("version %d, want 1", ch.Version)
		}
		r.write(r.sign(ch))
		r.want("register", rvproto.TypeRegistered)
		r.text(`{"type":"dance"}`)
		r.text(`{"type":"ping","id":7}`)
		if f := r.want("ping", rvproto.TypePong); f.ID != 7 {
			t.Errorf("pong %d, want 7", f.ID)
		}
		if got := l.srv.Stats().UnknownFrames; got != 2 {
			t.Errorf("%d unknown frames counted, want 2", got)
		}
	})
}
