// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/seed-98f0d4c2/runnel/internal/pionx/stunx"
	"github.com/seed-98f0d4c2/runnel/internal/pionx/turnx"
	"github.com/seed-98f0d4c2/runnel/internal/program"
	"github.com/seed-98f0d4c2/runnel/internal/program/programtest"
	"github.com/seed-98f0d4c2/runnel/internal/relay"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// process is a running relay.
type process struct {
	t       *testing.T
	lines   [2]string
	stderr  *bytes.Buffer // complete once code has a value
	signals chan os.Signal
	code    chan int
}

// launch runs the relay in this process and waits for its two lines.
func launch(t *testing.T, args ...string) *process {
	t.Helper()
	r, w := io.Pipe()
	p := &process{t: t, stderr: new(bytes.Buffer), signals: make(chan os.Signal, 2), code: make(chan int, 1)}
	go func() {
		p.code <- run(args, w, p.stderr, p.signals)
		w.Close()
	}()
	in := bufio.NewReader(r)
	for i := range p.lines {
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatalf("no line %d: %v, exit code %d\n%s", i, err, <-p.code, p.stderr)
		}
		p.lines[i] = strings.TrimSuffix(line, "\n")
	}
	go io.Copy(io.Discard, in)
	return p
}

func (p *process) stop(want int) {
	p.t.Helper()
	p.signals <- syscall.SIGTERM
	if got := <-p.code; got != want {
		p.t.Errorf("exit code %d, want %d\n%s", got, want, p.stderr)
	}
}

// field returns what the first line says behind name=.
func (p *process) field(name string) string {
	p.t.Helper()
	m := regexp.MustCompile(` ` + name + `=(\S+)`).FindStringSubmatch(p.lines[0])
	if m == nil {
		p.t.Fatalf("no %s in %q", name, p.lines[0])
	}
	return m[1]
}

func (p *process) allocate(pc net.PacketConn, server, secret string) *turnx.Allocation {
	p.t.Helper()
	user, pass := relay.Credential(secret, "alice", time.Now().Add(time.Minute))
	a, err := turnx.Allocate(p.t.Context(), &turnx.ClientConfig{
		Conn: pc, Server: netip.MustParseAddrPort(server), Username: user, Password: pass,
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return a
}

func listenUDP(t *testing.T) net.PacketConn {
	t.Helper()
	pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return pc
}

func TestDev(t *testing.T) {
	p := launch(t, "--dev", "--listen", "127.0.0.1:0")
	udp, tcp := p.field("udp"), p.field("tcp")
	want := `^rendezvous flags: --relay "turn:` + udp + `\?transport=udp" --relay "turn:` + tcp +
		`\?transport=tcp" --stun ` + udp + ` --relay-secret ([A-Z2-7]{26})$`
	m := regexp.MustCompile(want).FindStringSubmatch(p.lines[1])
	if m == nil {
		t.Fatalf("second line is %q, want %s", p.lines[1], want)
	}
	a := p.allocate(listenUDP(t), udp, m[1])
	b := p.allocate(listenUDP(t), udp, m[1])
	a.Permit(b.Relayed().Addr())
	for _, a := range []*turnx.Allocation{a, b} {
		if !a.Relayed().Addr().IsLoopback() {
			t.Errorf("relayed address %v, want loopback", a.Relayed())
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}
	p.stop(program.ExitOK)
}

// A second STUN address is named for the rendezvous, and answers.
func TestSTUNListen(t *testing.T) {
	p := launch(t, "--dev", "--listen", "127.0.0.1:0", "--stun-listen", "127.0.0.1:0")
	udp, stun := p.field("udp"), p.field("stun")
	if want := " --stun " + udp + " --stun " + stun + " "; udp == stun || !strings.Contains(p.lines[1], want) {
		t.Errorf("second line is %q, want it to hold %q", p.lines[1], want)
	}
	pc := listenUDP(t)
	defer pc.Close()
	for _, addr := range []string{udp, stun} {
		tx, ask := stunx.NewBinding()
		if _, err := pc.WriteTo(ask, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(addr))); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 1500)
		n, _, err := pc.ReadFrom(b)
		if err != nil {
			t.Fatal(err)
		}
		if got, mapped, err := stunx.ParseBinding(b[:n]); got != tx || mapped.String() != pc.LocalAddr().String() || err != nil {
			t.Errorf("%s says %v, %v; want %v", addr, mapped, err, pc.LocalAddr())
		}
	}
	p.stop(program.ExitOK)
}

func TestSecretFileAndDrain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "the secret")
	if err := os.WriteFile(file, []byte("first secret of two\n\nsecond secret of two\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := launch(t, "--listen", "127.0.0.1:0", "--secret-file", file, "--external-ip", "127.0.0.1", "--shutdown-timeout", "1h")
	if !strings.HasSuffix(p.lines[1], " --relay-secret-file '"+file+"'") || strings.Contains(p.lines[1], "secret of two") {
		t.Errorf("second line %q", p.lines[1])
	}
	a := p.allocate(listenUDP(t), p.field("udp"), "second secret of two")
	defer a.Close()
	p.signals <- syscall.SIGTERM
	for { // until newcomers are turned away
		user, pass := relay.Credential("first secret of two", "bob", time.Now().Add(time.Minute))
		b, err := turnx.Allocate(t.Context(), &turnx.ClientConfig{
			Conn: listenUDP(t), Server: netip.MustParseAddrPort(p.field("udp")), Username: user, Password: pass,
		})
		if code, refused := errors.AsType[*turnx.CodeError](err); refused && code.Code == 508 {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		b.Close()
	}
	if a.Err() != nil || len(p.code) != 0 {
		t.Errorf("the drain ended an allocation: %v", a.Err())
	}
	p.signals <- syscall.SIGTERM
	if got := <-p.code; got != program.ExitRuntime {
		t.Errorf("exit code %d after the second signal, want %d", got, program.ExitRuntime)
	}
	if !strings.Contains(p.stderr.String(), "second signal") {
		t.Errorf("log does not say why:\n%s", p.stderr)
	}
}

// An inline secret of a production relay does not go where logs are collected.
func TestSecretIsNotPrinted(t *testing.T) {
	t.Setenv("RUNNEL_RELAY_SECRET", "a secret from the environment")
	p := launch(t, "--listen", "127.0.0.1:0", "--external-ip", "198.51.100.7", "--bind-ip", "127.0.0.1")
	p.stop(program.ExitOK)
	if all := p.lines[0] + p.lines[1] + p.stderr.String(); strings.Contains(all, "from the environment") {
		t.Errorf("the secret was printed:\n%s", all)
	}
	if !strings.HasSuffix(p.lines[1], ` --relay-secret "$RUNNEL_RELAY_SECRET"`) {
		t.Errorf("second line %q", p.lines[1])
	}
}

func TestExitCodes(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	busy := listenUDP(t)
	defer busy.Close()
	good := []string{"--secret", "sixteen bytes or more", "--listen", "127.0.0.1:0"}
	with := func(more ...string) []string { return append(append([]string{}, good...), more...) }
	for name, tt := range map[string]struct {
		args []string
		code int
		says string
	}{
		"help":             {[]string{"--help"}, program.ExitOK, ""},
		"version":          {[]string{"--version"}, program.ExitOK, ""},
		"unknown flag":     {with("--bogus"), program.ExitUsage, "bogus"},
		"not a network":    {with("--allow-peer", "10.0.0.0"), program.ExitUsage, "10.0.0.0"},
		"no secret":        {[]string{"--external-ip", "8.8.8.8"}, program.ExitConfig, "no secret"},
		"short secret":     {[]string{"--secret", "fifteen bytes..", "--external-ip", "8.8.8.8"}, program.ExitConfig, "at least 16"},
		"two secrets":      {with("--secret-file", empty), program.ExitConfig, "exclude"},
		"empty file":       {[]string{"--secret-file", empty}, program.ExitConfig, "empty"},
		"no file":          {[]string{"--secret-file", filepath.Join(dir, "none")}, program.ExitConfig, "none"},
		"no address":       {[]string{"--secret", "sixteen bytes or more", "--listen", "0.0.0.0:0", "--external-ip", "0.0.0.0"}, program.ExitConfig, "external-ip"},
		"ipv6 address":     {with("--external-ip", "2001:db8::1"), program.ExitConfig, "external-ip"},
		"ports":            {with("--port-range", "2-1"), program.ExitConfig, "port-range"},
		"ports of letters": {with("--port-range", "all"), program.ExitConfig, "port-range"},
		"tls without":      {with("--tls-listen", ":0"), program.ExitConfig, "tls-cert"},
		"certificate only": {with("--tls-cert", empty), program.ExitConfig, "tls-listen"},
		"bad certificate":  {with("--tls-listen", ":0", "--tls-cert", empty, "--tls-key", empty), program.ExitConfig, "certificate"},
		"port in use":      {[]string{"--dev", "--listen", busy.LocalAddr().String()}, program.ExitRuntime, "in use"},
		"bad metrics":      {with("--metrics-listen", "nowhere:x"), program.ExitRuntime, "unknown port"},
	} {
		var out, err bytes.Buffer
		if got := run(tt.args, &out, &err, nil); got != tt.code || !strings.Contains(err.String(), tt.says) {
			t.Errorf("%s: exit code %d, want %d, saying %q:\n%s", name, got, tt.code, tt.says, err.String())
		}
	}
}

func TestMetricsAndReadiness(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	p := launch(t, "--dev", "--listen", "127.0.0.1:0", "--metrics-listen", addr)
	get := func(path string) (int, string) {
		c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		res, err := c.Get("http://" + addr + path)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		return res.StatusCode, string(b)
	}
	for path, want := range map[string]string{
		"/livez": "ok", "/readyz": "ok", "/metrics": "runnel_relay_ports_free 16384",
	} {
		if code, body := get(path); code != 200 || !strings.Contains(body, want) {
			t.Errorf("%s: %d %q, want 200 and %q", path, code, body, want)
		}
	}
	p.stop(program.ExitOK)
}

func TestTLS(t *testing.T) {
	chain, key, _ := programtest.Certificate(t, t.TempDir(), 1)
	p := launch(t, "--listen", "127.0.0.1:0", "--tls-listen", "127.0.0.1:0", "--tls-cert", chain, "--tls-key", key,
		"--secret", "sixteen bytes or more", "--dev")
	addr := p.field("tls")
	if !strings.Contains(p.lines[1], `--relay "turns:`+addr+`?transport=tcp"`) {
		t.Errorf("second line %q lacks the TLS address", p.lines[1])
	}
	c, err := tls.Dial("tcp4", addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"stun.turn"}})
	if err != nil {
		t.Fatal(err)
	}
	if got := c.ConnectionState().NegotiatedProtocol; got != "stun.turn" {
		t.Errorf("ALPN = %q", got)
	}
	a := p.allocate(turnx.NewStreamConn(c), addr, "sixteen bytes or more")
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	p.stop(program.ExitOK)
}
