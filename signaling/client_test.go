// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package signaling

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/seed-98f0d4c2/runnel/signaling/internal/rvproto"
)

func TestNewClientRefuses(t *testing.T) {
	key := testKey(1)
	for _, url := range []string{
		"", "rendezvous.example", "https://rendezvous.example", "ws://", "wss:///v1", "ws://user@x.example", "ws://x.example/#y", "ws://%",
	} {
		if c, err := NewClient(url, key, nil); err == nil {
			c.Close()
			t.Errorf("NewClient(%q) did not fail", url)
		}
	}
	if _, err := NewClient("ws://localhost", nil, nil); !errors.Is(err, ErrKeyFile) {
		t.Errorf("no key: error %v, want ErrKeyFile", err)
	}
	both := &ClientConfig{HTTPClient: http.DefaultClient, DialContext: http.DefaultTransport.(*http.Transport).DialContext}
	if _, err := NewClient("ws://localhost", key, both); err == nil {
		t.Error("HTTPClient and DialContext were accepted together")
	}
}

func TestURL(t *testing.T) {
	for in, want := range map[string]struct {
		url     string
		exposed bool
	}{
		"wss://x.example":      {"wss://x.example/v1", false},
		"ws://x.example/":      {"ws://x.example/v1", true},
		"ws://127.0.0.1:1/v1":  {"ws://127.0.0.1:1/v1", false},
		"ws://[::1]:1":         {"ws://[::1]:1/v1", false},
		"ws://localhost:1/sub": {"ws://localhost:1/sub", false},
		"ws://192.0.2.1":       {"ws://192.0.2.1/v1", true},
	} {
		u, err := parseURL(in)
		if err != nil || u.String() != want.url || exposed(u) != want.exposed {
			t.Errorf("parseURL(%q) = %v, %v, exposed %v; want %+v", in, u, err, exposed(u), want)
		}
	}
}

func TestPause(t *testing.T) {
	c := &Client{config: ClientConfig{BackoffMin: 500 * time.Millisecond, BackoffMax: time.Minute}}
	for failures := range 100 {
		limit := min(time.Minute, 500*time.Millisecond<<min(failures, 20))
		for range 100 {
			if p := c.pause(failures, nil); p < 0 || p >= limit {
				t.Fatalf("pause after %d failures: %v, want below %v", failures, p, limit)
			}
		}
	}
	later := fmt.Errorf("wrapped: %w", &laterError{err: errors.New("x"), after: 10 * time.Second, spread: 5 * time.Second})
	for range 100 {
		if p := c.pause(0, later); p < 10*time.Second || p >= 15*time.Second {
			t.Fatalf("pause %v, want 10 to 15 s as the server wishes", p)
		}
	}
	if p := c.pause(0, &laterError{err: errors.New("x"), after: time.Hour}); p > maxRetryAfter {
		t.Errorf("a server keeps clients away for %v", p)
	}
}

func TestRetryAfter(t *testing.T) {
	for header, want := range map[string]time.Duration{"7": 7 * time.Second, "": 0, "-1": 0, "soon": 0, "99999999999999999999": 0} {
		resp := &http.Response{StatusCode: http.StatusServiceUnavailable, Status: "503 Service Unavailable", Header: http.Header{"Retry-After": {header}}}
		var later *laterError
		err := refusal(resp, errors.New("x"))
		if got := errors.As(err, &later); got != (want > 0) || got && later.after != want {
			t.Errorf("Retry-After %q: %#v, want %v", header, err, want)
		}
	}
}

// fakeServer registers everybody and then does what script says.
func fakeServer(t *testing.T, script func(ctx context.Context, ws *websocket.Conn)) (url string) {
	t.Helper()
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer ws.CloseNow()
		ctx := t.Context()
		for _, answer := range []*rvproto.Frame{
			{Type: rvproto.TypeChallenge, Version: 1, Server: "127.0.0.1", Challenge: make([]byte, 32), Time: 1},
			{Type: rvproto.TypeRegistered, Epoch: 5, Resume: make([]byte, 32), Time: 1},
		} {
			if _, _, err := ws.Read(ctx); err != nil {
				return
			}
			say(ctx, ws, answer)
		}
		script(ctx, ws)
	}))
	t.Cleanup(web.Close)
	return "ws" + strings.TrimPrefix(web.URL, "http")
}

func say(ctx context.Context, ws *websocket.Conn, f *rvproto.Frame) {
	b, _ := rvproto.Encode(f)
	_ = ws.Write(ctx, websocket.MessageText, b)
}

// A server that answers pings and has forgotten the registration is left.
func TestForgottenRegistration(t *testing.T) {
	verified := make(chan struct{}, 100)
	url := fakeServer(t, func(ctx context.Context, ws *websocket.Conn) {
		for {
			_, b, err := ws.Read(ctx)
			if err != nil {
				return
			}
			if f, err := rvproto.ParseClient(b); err == nil && f.Type == rvproto.TypeVerify {
				verified <- struct{}{}
				say(ctx, ws, &rvproto.Frame{Type: rvproto.TypeVerified, Epoch: 4})
			}
		}
	})
	c, err := NewClient(url, testKey(1), &ClientConfig{
		VerifyInterval: time.Millisecond, BackoffMin: time.Millisecond, BackoffMax: time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 3 { // each connection asks once
		<-verified
	}
	if s := c.Stats(); s.Connects < 2 || !errors.Is(s.LastErr, errForgotten) {
		t.Errorf("%+v, want new connections because of %v", s, errForgotten)
	}
}

// What a server sends that makes no sense costs the connection, not more.
func TestServerViolations(t *testing.T) {
	for _, text := range []string{
		"{", `{"type":"challenge"}`, `{"type":"registered"}`, `{"type":"deliver","seq":1,"from":"x"}`,
		`{"type":"deliver","from":"x"}`, `{"type":"services"}`, `{"type":"going_away","delay":-1}`,
		`{"type":"error","code":"x","text":"y"}`, `{"type":"verified","epoch":9}`,
	} {
		t.Run(text, func(t *testing.T) {
			connected := make(chan struct{}, 100)
			url := fakeServer(t, func(ctx context.Context, ws *websocket.Conn) {
				connected <- struct{}{}
				_ = ws.Write(ctx, websocket.MessageText, []byte(text))
				for {
					if _, _, err := ws.Read(ctx); err != nil {
						return
					}
				}
			})
			c, err := NewClient(url, testKey(1), &ClientConfig{BackoffMin: time.Millisecond, BackoffMax: time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			<-connected
			<-connected
			if s := c.Stats(); s.LastErr == nil {
				t.Errorf("%+v, want a reason", s)
			}
		})
	}
}

// FuzzServerMessage feeds a connected client with frames.
func FuzzServerMessage(f *testing.F) {
	for _, s := range []string{
		`{"type":"ack","seq":1,"result":"ok"}`,
		`{"type":"ack","seq":1,"result":"who knows"}`,
		`{"type":"presence","seq":1,"to":"x","online":true}`,
		`{"type":"deliver","seq":1,"from":"` + IDFromKey(testKey(2)).String() + `","payload":"aGk="}`,
		`{"type":"services","services":{"stun":["x:1"],"relays":[{"url":"turn:x"}],"ttl":1}}`,
		`{"type":"services","services":{"relays":[{"url":"turn:x?y"}],"ttl":9223372036854775807}}`,
		`{"type":"verified","epoch":1}`,
		`{"type":"ping","id":1}`,
		`{"type":"pong","id":1}`,
		`{"type":"replaced","reason":"x"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c := &Client{
			id:     IDFromKey(testKey(1)),
			inbox:  make(chan Envelope, clientInbox),
			ready:  make(chan struct{}),
			config: ClientConfig{Log: slog.New(slog.DiscardHandler)},
		}
		r := &request{frame: &rvproto.Frame{Seq: 1}, done: make(chan struct{})}
		c.pending = []*request{r}
		cc := &clientConn{c: c, wake: make(chan struct{}, 1)}
		c.conn = cc
		for range 2 * maxControl {
			frame, err := rvproto.ParseServer(b)
			if err != nil || cc.handle(frame) != nil {
				return
			}
		}
		for _, relay := range c.services.Relays {
			if _, err := ParseRelayURL(relay.URL); err != nil {
				t.Fatalf("adopted a relay that cannot be used: %v", err)
			}
		}
		for out := cc.next(); out != nil; out = cc.next() {
			b, err := rvproto.Encode(out)
			if err != nil {
				t.Fatal(err)
			}
			if out == r.frame {
				continue
			}
			if _, err := rvproto.ParseClient(b); err != nil {
				t.Fatalf("answered with %s: %v", b, err)
			}
		}
	})
}
