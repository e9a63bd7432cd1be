// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package rendezvous_test

import (
	"context"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-98f0d4c2/runnel/signaling"
	"github.com/seed-98f0d4c2/runnel/signaling/internal/rvproto"
	"github.com/seed-98f0d4c2/runnel/signaling/rendezvous"
)

func TestServerGivesUpSilentClients(t *testing.T) {
	inLab(t, nil, func(t *testing.T, l *lab) {
		r := l.raw()
		r.register()
		go func() { // reads, and answers nothing
			for {
				if _, _, err := r.ws.Read(t.Context()); err != nil {
					return
				}
			}
		}()
		good := l.join(nil, nil)
		time.Sleep(40 * time.Second)
		if s := l.srv.Stats(); s.Connections != 2 {
			t.Errorf("%d connections after 40 s, want both: one missed ping is forgiven", s.Connections)
		}
		time.Sleep(50 * time.Second)
		if s := l.srv.Stats(); s.Connections != 1 || s.Silent != 1 {
			t.Errorf("%+v after 90 s, want the silent one gone", s)
		}
		if s := good.Stats(); s.Connects != 1 {
			t.Errorf("the client that answers connected %d times, want once", s.Connects)
		}
	})
}

// A deaf connection is one that takes what is written, as a dead network does for a while, and delivers nothing.
type deafConn struct {
	net.Conn
	deaf *atomic.Bool
}

func (c deafConn) Write(b []byte) (int, error) {
	if c.deaf.Load() {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

func TestClientGivesUpSilentServer(t *testing.T) {
	inLab(t, &rendezvous.Config{PingInterval: -1}, func(t *testing.T, l *lab) {
		var deaf atomic.Bool
		c := &signaling.ClientConfig{}
		p := l.enterVia(nil, c, func(conn net.Conn) net.Conn { return deafConn{conn, &deaf} })
		synctest.Wait()
		time.Sleep(10 * time.Minute)
		if s := p.Stats(); s.Connects != 1 {
			t.Errorf("%d connections on a good network, want one: the client pings", s.Connects)
		}
		deaf.Store(true)
		time.Sleep(2 * time.Minute)
		if s := p.Stats(); s.Connected && s.Connects == 1 {
			t.Error("the client has not noticed that nothing gets through")
		}
		deaf.Store(false)
		time.Sleep(2 * time.Minute)
		if s := p.Stats(); !s.Connected || s.Connects < 2 {
			t.Errorf("%+v, want a new connection", s)
		}
	})
}

func TestServicesAreRenewed(t *testing.T) {
	c := &rendezvous.Config{
		STUN:          []string{"stun.test:3478"},
		Relays:        []string{"turn:relay.test:3478?transport=udp", "turn:relay.test:3478?transport=tcp"},
		Secrets:       []string{"0123456789abcdef", "the older one 123"},
		CredentialTTL: 2 * time.Minute,
	}
	inLab(t, c, func(t *testing.T, l *lab) {
		p := l.join(nil, nil)
		var last string
		for range 20 {
			s, err := p.Services(t.Context())
			if err != nil || len(s.Relays) != 2 || !slices.Equal(s.STUN, c.STUN) {
				t.Fatalf("%+v, %v; want what is configured", s, err)
			}
			if left := time.Until(s.Expires); left <= 0 || left > c.CredentialTTL {
				t.Fatalf("credentials good for %v, want 0 to %v", left, c.CredentialTTL)
			}
			r := s.Relays[0]
			if user, ok := strings.CutSuffix(r.Username, ":"+p.ID().String()); !ok || user == "" || r.Credential == "" {
				t.Fatalf("user name %q, want a time and the peer ID", r.Username)
			}
			last = r.Username
			time.Sleep(30 * time.Second)
		}
		if s, _ := p.Services(t.Context()); s.Relays[0].Username == last && p.Stats().Connects == 1 {
			t.Log("the last half minute brought no new ones, which is fine")
		}
		if got := l.srv.Stats().Minted; got < 5 {
			t.Errorf("%d credentials in ten minutes, want one every 90 s or so", got)
		}
	})
}

func TestNoSecretNoCredentials(t *testing.T) {
	inLab(t, &rendezvous.Config{Relays: []string{"turn:relay.test"}}, func(t *testing.T, l *lab) {
		s, err := l.join(nil, nil).Services(t.Context())
		if err != nil || len(s.Relays) != 1 || s.Relays[0].Username != "" || s.Relays[0].Credential != "" || !s.Expires.IsZero() {
			t.Errorf("%+v, %v; want the relay without credentials", s, err)
		}
	})
}

func TestShutdown(t *testing.T) {
	inLab(t, nil, func(t *testing.T, l *lab) {
		r := l.raw()
		r.register()
		unregistered := l.raw()
		unregistered.hello()
		peers := []*peer{l.join(nil, nil), l.join(nil, nil), l.join(nil, nil)}
		done := make(chan error)
		go func() { done <- l.srv.Shutdown(t.Context()) }()
		if f := r.want("shutdown", rvproto.TypeGoingAway); f.Delay != 5000 {
			t.Errorf("going_away %+v, want a delay of 5 s", f)
		}
		r.wantClose("shutdown", 1012)
		if err := <-done; err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		l.web.Close()
		if s := l.srv.Stats(); s.Connections != 0 || s.Sessions != 0 || !s.Draining {
			t.Errorf("%+v, want nothing left", s)
		}
		l.start(nil) // the next version
		time.Sleep(time.Minute)
		for i, p := range peers {
			if s := p.Stats(); !s.Connected || s.Connects != 2 || s.Resumed != 0 {
				t.Errorf("peer %d: %+v, want a new registration", i, s)
			}
		}
	})
}

// A client that does not react cannot hold up a shutdown.
func TestShutdownIsBounded(t *testing.T) {
	inLab(t, nil, func(t *testing.T, l *lab) {
		r := l.raw()
		r.register() // and reads no more
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if err := l.srv.Shutdown(ctx); err == nil {
			t.Error("Shutdown of a stuck client did not say so")
		}
		if d := time.Since(start); d != time.Second {
			t.Errorf("Shutdown took %v, want the second it was given", d)
		}
	})
}

func TestRefusedWhileDraining(t *testing.T) {
	inLab(t, nil, func(t *testing.T, l *lab) {
		if err := l.srv.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		p := l.enter(nil, nil)
		synctest.Wait()
		if s := p.Stats(); s.Connected || !strings.Contains(s.LastErr.Error(), "503") {
			t.Errorf("%+v, want the answer 503", s)
		}
	})
}

// The older connection of a session gives way to the one that resumes it, without being told that it was replaced.
func TestResumeOverLiveConnection(t *testing.T) {
	inLab(t, nil, func(t *testing.T, l *lab) {
		old := l.raw()
		token := old.register().Resume
		next := l.raw()
		next.key = old.key
		f := next.sign(next.hello())
		f.Resume = token
		next.write(f)
		if got := next.want("resume", rvproto.TypeRegistered); !got.Resumed {
			t.Error("not resumed")
		}
		old.wantClose("the older connection", rvproto.CloseSuperseded)
		next.write(&rvproto.Frame{Type: rvproto.TypeVerify})
		if v := next.want("verify", rvproto.TypeVerified); v.Epoch == 0 {
			t.Error("the session is not attached to the newer connection")
		}
	})
}
