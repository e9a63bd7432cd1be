// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/seed-98f0d4c2/runnel/internal/program"
	"github.com/seed-98f0d4c2/runnel/internal/relay"
	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/signaling"
	"github.com/seed-98f0d4c2/runnel/signaling/rendezvous"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// servers are a rendezvous and a relay, on the loopback interface.
type servers struct {
	url   string
	relay string // host:port
}

const secret = "a secret for the relay of a test"

func startServers(t *testing.T) servers {
	t.Helper()
	pcs, err := relay.ListenUDP(t.Context(), "127.0.0.1:0", 1)
	if err != nil {
		t.Fatal(err)
	}
	loopback := netip.MustParseAddr("127.0.0.1")
	r, err := relay.New(&relay.Config{
		PacketConns: pcs, RelayIP: loopback, BindIP: loopback, Secrets: []string{secret}, AnswerRate: -1,
		AllowPeers: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, AllowHost: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- r.Serve() }()
	t.Cleanup(func() {
		r.Close()
		<-ended
	})
	at := pcs[0].LocalAddr().String()
	srv, err := rendezvous.New(&rendezvous.Config{
		Name: "127.0.0.1", STUN: []string{at}, Secrets: []string{secret}, Relays: []string{"turn:" + at + "?transport=udp"},
	})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(srv)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = srv.Shutdown(ctx)
		web.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return servers{url: "ws" + strings.TrimPrefix(web.URL, "http") + "/v1", relay: at}
}

// startPeer starts a peer that does nothing, registered at the rendezvous.
func (s servers) startPeer(t *testing.T, c *peer.Config) *peer.Endpoint {
	t.Helper()
	key, err := signaling.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	client, err := signaling.NewClient(s.url, key, nil)
	if err != nil {
		t.Fatal(err)
	}
	c.Key, c.Signaler, c.Loopback = key, client, true
	ep, err := peer.Listen(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = ep.Close(ctx)
	})
	if _, err := client.Services(t.Context()); err != nil {
		t.Fatal(err)
	}
	return ep
}

func runnel(t *testing.T, want int, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	if code := run(t.Context(), args, &out, &errs); code != want {
		t.Errorf("runnel %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), code, want, &out, &errs)
	}
	return out.String(), errs.String()
}

func expect(t *testing.T, text string, patterns ...string) {
	t.Helper()
	for _, p := range patterns {
		if !regexp.MustCompile(p).MatchString(text) {
			t.Errorf("the output lacks %q:\n%s", p, text)
		}
	}
}

func TestWhy(t *testing.T) {
	s := startServers(t)
	ep := s.startPeer(t, &peer.Config{})
	out, _ := runnel(t, program.ExitOK, "why", ep.ID().String(), "--rendezvous", s.url, "--loopback")
	expect(t, out, `(?m)^peer `+ep.ID().Short()+`: direct`, `(?m)^path: direct .* because `, `(?m)^timeline: start`)

	out, _ = runnel(t, program.ExitOK, "why", ep.ID().String(), "--rendezvous", s.url, "--loopback", "--json")
	var x peer.Explanation
	if err := json.Unmarshal([]byte(out), &x); err != nil {
		t.Fatal(err)
	}
	if x.Peer != ep.ID() || x.State != peer.StateDirect {
		t.Errorf("the JSON is about %v, which is %q; want %v, direct", x.Peer, x.State, ep.ID())
	}
}

func TestWhyRelayed(t *testing.T) {
	s := startServers(t)
	ep := s.startPeer(t, &peer.Config{Addresses: func(peer.ID) peer.AddressPolicy { return peer.RelayOnly }})
	out, _ := runnel(t, exitWarn, "why", ep.ID().String(), "--rendezvous", s.url, "--loopback", "--wait", "200ms")
	expect(t, out, `: relayed`, `(?m)^what would help: The peer tells none of its own addresses`)
}

func TestWhyFails(t *testing.T) {
	s := startServers(t)
	key, err := signaling.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	nobody := signaling.IDFromKey(key).String()
	out, _ := runnel(t, program.ExitRuntime, "why", nobody, "--rendezvous", s.url)
	expect(t, out, `: failed`, `what would help: Nobody is registered under this ID`)
	_, errs := runnel(t, program.ExitRuntime, "why", nobody)
	expect(t, errs, `no signaler and no address`)
	runnel(t, program.ExitRuntime, "why", "nonsense")
	runnel(t, program.ExitUsage, "why")
	runnel(t, program.ExitUsage, "what")
}

func TestPing(t *testing.T) {
	s := startServers(t)
	ep := s.startPeer(t, &peer.Config{})
	out, _ := runnel(t, program.ExitOK, "ping", ep.ID().String(), "--rendezvous", s.url, "--loopback", "-c", "3", "-i", "10ms")
	expect(t, out, `session in .* path `, `(?m)^seq=1 rtt=\S+ path=`, `(?m)^seq=3 rtt=`, `(?m)^3 sent, 3 answered, rtt min/avg/max `)
}

func TestDoctor(t *testing.T) {
	s := startServers(t)
	out, _ := examine(t, "--rendezvous", s.url)
	for check, want := range map[string]verdict{"rendezvous": ok, "clock": ok, "stun": ok, "udp IPv4": ok, "relay": ok, "filtering": ok} {
		if got := out[check]; got.Verdict != want {
			t.Errorf("%s: %+v, want %s", check, got, want)
		}
	}
	text, _ := runnelAny(t, "doctor", "--rendezvous", s.url)
	expect(t, text, `(?m)^ok    relay        turn:`+regexp.QuoteMeta(s.relay)+`.*echo in `)
}

// What does not work is said, with a remedy, and fails the whole.
func TestDoctorFails(t *testing.T) {
	s := startServers(t)
	silent, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	at := silent.LocalAddr().String()
	out, code := examine(t, "--stun", at, "--relay", "turn:"+s.relay+"?transport=udp", "--relay-user", "me", "--relay-password", "wrong",
		"--rendezvous", "ws://"+at+"/v1")
	if code != program.ExitRuntime {
		t.Errorf("exit code %d, want 1", code)
	}
	for _, check := range []string{"rendezvous", "stun", "udp IPv4", "relay"} {
		if f := out[check]; f.Verdict != fail || check != "stun" && f.Remedy == "" {
			t.Errorf("%s: %+v, want a failure with a remedy", check, f)
		}
	}
}

// examine runs the doctor and returns the last finding of each check.
func examine(t *testing.T, args ...string) (map[string]finding, int) {
	t.Helper()
	text, code := runnelAny(t, slices.Concat([]string{"doctor", "--json"}, args)...)
	var r report
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	out := make(map[string]finding)
	for _, f := range r.Findings {
		out[f.Check] = f
	}
	return out, code
}

// runnelAny is for commands whose exit code depends on the machine.
func runnelAny(t *testing.T, args ...string) (stdout string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, &out, &errs)
	if errs.Len() > 0 {
		t.Errorf("standard error has %s", &errs)
	}
	return out.String(), code
}

func TestVerdicts(t *testing.T) {
	for _, tt := range []struct {
		findings []finding
		want     verdict
	}{
		{nil, ok},
		{[]finding{{Verdict: ok}, {Verdict: note}}, ok},
		{[]finding{{Check: "nat", Verdict: warn}, {Check: "port mapping", Verdict: note}}, warn},
		{[]finding{{Check: "nat", Verdict: warn}, {Check: "port mapping", Verdict: ok}}, ok},
		{[]finding{{Verdict: fail}, {Verdict: warn}}, fail},
	} {
		r := report{Findings: tt.findings}
		if got := r.judge(); got != tt.want {
			t.Errorf("%v comes to %q, want %q", tt.findings, got, tt.want)
		}
	}
}

func TestKeys(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key.pem")
	made, _ := runnel(t, program.ExitOK, "keygen", file)
	read, _ := runnel(t, program.ExitOK, "id", file)
	if made != read || len(made) < 50 {
		t.Errorf("keygen says %q, id %q", made, read)
	}
	_, errs := runnel(t, program.ExitRuntime, "keygen", file)
	expect(t, errs, "exists")
	if again, _ := runnel(t, program.ExitOK, "id", file); again != read {
		t.Error("keygen has replaced a key")
	}
	out, _ := runnel(t, program.ExitOK)
	expect(t, out, "doctor", "why <peer>")
}
