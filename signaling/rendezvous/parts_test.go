// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package rendezvous

import (
	"encoding/binary"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-98f0d4c2/runnel/signaling"
	"github.com/seed-98f0d4c2/runnel/signaling/internal/rvproto"
)

func TestConfigErrors(t *testing.T) {
	tests := []struct {
		name string
		c    Config
	}{
		{"name with a scheme", Config{Name: "wss://x.example"}},
		{"name with a port", Config{Name: "x.example:443"}},
		{"alias with a path", Config{Name: "x.example", Aliases: []string{"y/z"}}},
		{"relay", Config{Relays: []string{"http://x"}}},
		{"17 relays", Config{Relays: make([]string, 17)}},
		{"STUN without port", Config{STUN: []string{"x.example"}}},
		{"STUN with a scheme", Config{STUN: []string{"stun:x.example:3478"}}},
		{"short secret", Config{Secrets: []string{"short"}}},
		{"short credentials", Config{CredentialTTL: time.Second}},
		{"any origin", Config{AllowOrigin: []string{"*"}}},
		{"bad pattern", Config{AllowOrigin: []string{"["}}},
		{"invalid proxy", Config{TrustedProxies: []netip.Prefix{{}}}},
	}
	for _, tt := range tests {
		if _, err := New(&tt.c); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: error %v, want ErrConfig", tt.name, err)
		}
	}
	if _, err := New(nil); err != nil {
		t.Errorf("the zero configuration: %v", err)
	}
}

func newTestServer(t testing.TB, c *Config) *Server {
	t.Helper()
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestNameFor(t *testing.T) {
	s := newTestServer(t, &Config{Name: "A.example", Aliases: []string{"b.example", "[2001:db8::1]"}})
	for host, want := range map[string]string{
		"a.example":          "a.example",
		"A.EXAMPLE:443":      "a.example",
		"b.example:8443":     "b.example",
		"[2001:db8::1]:8443": "2001:db8::1",
		"evil.example":       "a.example",
		"":                   "a.example",
	} {
		if got := s.nameFor(host); got != want {
			t.Errorf("nameFor(%q) = %q, want %q", host, got, want)
		}
	}
}

func TestClientIP(t *testing.T) {
	s := newTestServer(t, &Config{TrustedProxies: []netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32"),
	}})
	tests := []struct {
		name, remote string
		forwarded    []string
		want         string
	}{
		{"direct", "192.0.2.1:5", nil, "192.0.2.1"},
		{"direct and lying", "192.0.2.1:5", []string{"198.51.100.1"}, "192.0.2.1"},
		{"mapped", "[::ffff:192.0.2.1]:5", nil, "192.0.2.1"},
		{"behind a proxy", "10.0.0.1:5", []string{"198.51.100.1"}, "198.51.100.1"},
		{"behind two", "10.0.0.1:5", []string{"198.51.100.1, 10.2.3.4"}, "198.51.100.1"},
		{"behind a proxy and lying", "10.0.0.1:5", []string{"203.0.113.9, 198.51.100.1"}, "198.51.100.1"},
		{"in two headers", "10.0.0.1:5", []string{"203.0.113.9", "198.51.100.1"}, "198.51.100.1"},
		{"mapped proxy", "[::ffff:10.0.0.1]:5", []string{"198.51.100.1"}, "198.51.100.1"},
		{"IPv6 proxy", "[2001:db8::1]:5", []string{"2001:470::1"}, "2001:470::1"},
		{"nonsense", "10.0.0.1:5", []string{"203.0.113.9, unknown"}, "10.0.0.1"},
		{"proxy that forwards nothing", "10.0.0.1:5", nil, "10.0.0.1"},
		{"many hops", "10.0.0.1:5", []string{strings.Repeat("10.0.0.1,", 1000) + "10.0.0.2"}, "10.0.0.1"},
	}
	for _, tt := range tests {
		r := httptest.NewRequest(http.MethodGet, "/v1", nil)
		r.RemoteAddr = tt.remote
		r.Header["X-Forwarded-For"] = tt.forwarded
		if got := s.clientIP(r); got != netip.MustParseAddr(tt.want) {
			t.Errorf("%s: %v, want %s", tt.name, got, tt.want)
		}
	}
}

func TestNetwork(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1":             "192.0.2.1/32",
		"2001:db8:1:2:3:4:5:6":  "2001:db8:1:2::/64",
		"2001:db8:1:2:ffff::ff": "2001:db8:1:2::/64",
	} {
		if got := network(netip.MustParseAddr(in)); got.String() != want {
			t.Errorf("network(%s) = %v, want %s", in, got, want)
		}
	}
	if got := network(netip.Addr{}); got.IsValid() {
		t.Errorf("network of no address = %v", got)
	}
	if got := redact(netip.MustParseAddr("192.0.2.77")); got != "192.0.2.0/24" {
		t.Errorf("redact = %s, want 192.0.2.0/24", got)
	}
}

func TestConnectionsPerNetwork(t *testing.T) {
	s := newTestServer(t, &Config{Limits: Limits{ConnectionsPerIP: 3, ConnectRate: -1}})
	addr := func(last string) *conn { return newConn(s, netip.MustParseAddr("2001:db8::"+last), "") }
	var admitted []*conn
	for _, last := range []string{"1", "2", "3"} {
		c := addr(last)
		if r := s.admit(c); r != nil {
			t.Fatal(r)
		}
		admitted = append(admitted, c)
	}
	if r := s.admit(addr("4")); r == nil || r.status != http.StatusTooManyRequests {
		t.Errorf("a fourth of the same /64: %v, want 429", r)
	}
	if r := s.admit(newConn(s, netip.MustParseAddr("2001:db8:0:1::1"), "")); r != nil {
		t.Errorf("another network: %v", r)
	}
	s.remove(admitted[0])
	if r := s.admit(addr("5")); r != nil {
		t.Errorf("after one has left: %v", r)
	}
}

func TestConnectRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestServer(t, nil)
		refused := 0
		for range 50 {
			c := newConn(s, netip.MustParseAddr("192.0.2.1"), "")
			if s.admit(c) != nil {
				refused++
				continue
			}
			s.remove(c)
		}
		if refused != 30 {
			t.Errorf("%d of 50 connections at once refused, want all after a burst of 20", refused)
		}
	})
}

func TestOrigins(t *testing.T) {
	s := newTestServer(t, &Config{AllowOrigin: []string{"*.good.example"}})
	web := httptest.NewServer(s)
	defer web.Close()
	for origin, want := range map[string]int{
		"":                         http.StatusSwitchingProtocols,
		web.URL:                    http.StatusSwitchingProtocols,
		"https://app.good.example": http.StatusSwitchingProtocols,
		"https://evil.example":     http.StatusForbidden,
		"null":                     http.StatusForbidden,
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, web.URL+"/v1", nil)
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range map[string]string{
			"Connection": "Upgrade", "Upgrade": "websocket",
			"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==", "Origin": origin,
		} {
			if v != "" {
				req.Header.Set(k, v)
			}
		}
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("origin %q: status %d, want %d", origin, resp.StatusCode, want)
		}
		if strings.Contains(resp.Header.Get("Sec-WebSocket-Extensions"), "deflate") {
			t.Error("compression is on")
		}
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}

func TestCredential(t *testing.T) {
	id := signaling.PeerID{1, 2, 3}
	user, pass := credential("north", id, time.Unix(1_700_000_000, 0))
	if user != "1700000000:"+id.String() {
		t.Errorf("user name %q", user)
	}
	// printf %s "" | openssl dgst -sha1 -hmac north -binary | base64
	if want := "3WY/RBgKXs3QfhoAY5Tq4sztC4k="; pass != want {
		t.Errorf("password %q, want %q", pass, want)
	}
}

func TestBucket(t *testing.T) {
	now := time.Unix(0, 0)
	var b bucket
	for i := range 20 {
		if !b.take(now, 5, 20) {
			t.Fatalf("token %d of the burst refused", i)
		}
	}
	if b.take(now, 5, 20) {
		t.Error("a 21st token")
	}
	if b.take(now.Add(199*time.Millisecond), 5, 20) || !b.take(now.Add(200*time.Millisecond), 5, 20) {
		t.Error("the next token is not there after exactly 1/5 s")
	}
	if b.take(now.Add(-time.Hour), 5, 20) {
		t.Error("a clock set back fills the bucket")
	}
	var w bucket
	for range 100 {
		if d := w.wait(now, 50, 100); d != 0 {
			t.Fatalf("wait of %v within the burst", d)
		}
	}
	if d := w.wait(now, 50, 100); d != 20*time.Millisecond {
		t.Errorf("wait %v after the burst, want 20 ms", d)
	}
}

// An attacker with many keys must neither make the table grow nor wash his own account out of it easily.
func TestBucketTableIsFixed(t *testing.T) {
	table := newBucketTable(5, 20)
	now := time.Unix(0, 0)
	victim := []byte("somebody")
	for table.take(now, victim) {
	}
	let := 0
	for i := range uint64(20_000) {
		if i%100 == 0 && table.take(now, victim) {
			let++
		}
		table.take(now, binary.BigEndian.AppendUint64(nil, i))
	}
	if let > 0 {
		t.Errorf("an exhausted account let through %d times among 20 000 others", let)
	}
}

func TestMetrics(t *testing.T) {
	s := newTestServer(t, nil)
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(s)
	count := func() int {
		families, err := r.Gather()
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, f := range families {
			if !strings.HasPrefix(f.GetName(), "runnel_rendezvous_") {
				t.Errorf("metric %s", f.GetName())
			}
			n += len(f.GetMetric())
		}
		return n
	}
	before := count()
	s.counters.sent("whatever a client makes up")
	s.counters.malformed.Add(1)
	if after := count(); after != before || before == 0 {
		t.Errorf("%d series, then %d; want a fixed number", before, after)
	}
}

// FuzzClientMessage feeds a registered connection with frames. Whatever they are, it answers within bounds.
func FuzzClientMessage(f *testing.F) {
	k, err := signaling.GenerateKey()
	if err != nil {
		f.Fatal(err)
	}
	peer := signaling.IDFromKey(k)
	for _, s := range []string{
		`{"type":"hello","version":1}`,
		`{"type":"register","peer":"x"}`,
		`{"type":"send","seq":1,"to":"` + peer.String() + `","payload":"aGk="}`,
		`{"type":"presence","seq":2,"to":"` + peer.String() + `"}`,
		`{"type":"received","seen":1}`,
		`{"type":"verify"}`,
		`{"type":"ping","id":1}`,
		`{"type":"pong","id":18446744073709551615}`,
		`{"TYPE":"ping"}`,
		`{}`,
	} {
		f.Add([]byte(s))
	}
	s := newTestServer(f, &Config{Limits: Limits{SendRate: -1, TargetRate: -1}})
	f.Fuzz(func(t *testing.T, b []byte) {
		c := newConn(s, netip.Addr{}, "")
		defer c.cancel(nil)
		c.id = peer
		sess, _, err := s.register(c, peer, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		c.sess = sess
		defer sess.detach(c, true)
		for range 2 * maxControl {
			frame, err := rvproto.ParseClient(b)
			if err != nil {
				return
			}
			if err := c.handle(frame); err != nil {
				return
			}
		}
		if len(c.control) > maxControl+1 {
			t.Fatalf("%d responses queued, want at most %d", len(c.control), maxControl)
		}
		for _, r := range c.control {
			out, err := rvproto.Encode(r)
			if err != nil {
				t.Fatalf("response %+v: %v", r, err)
			}
			if _, err := rvproto.ParseServer(out); err != nil {
				t.Fatalf("response %s: %v", out, err)
			}
		}
	})
}
