// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/seed-98f0d4c2/runnel/internal/program"
	"github.com/seed-98f0d4c2/runnel/internal/program/programtest"
	"github.com/seed-98f0d4c2/runnel/signaling"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A process is the program running in this one.
type process struct {
	t       *testing.T
	url     string
	log     *logBuffer
	signals chan os.Signal
	code    chan int
}

// logBuffer is a buffer that may be written and read at once.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// start runs the program until it listens.
func start(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{t: t, log: new(logBuffer), signals: make(chan os.Signal, 2), code: make(chan int, 1)}
	r, w := io.Pipe()
	go func() {
		p.code <- run(args, w, p.log, p.signals)
		w.Close()
	}()
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		t.Fatalf("it did not start: %s", p.log)
	}
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "listening url=")
	if !ok {
		t.Fatalf("first line %q, want listening url=…", line)
	}
	p.url = url
	return p
}

func (p *process) stop(want int) {
	p.t.Helper()
	p.signals <- syscall.SIGTERM
	if got := <-p.code; got != want {
		p.t.Errorf("exit code %d, want %d; log:\n%s", got, want, p.log)
	}
}

func client(t *testing.T, url string, c *signaling.ClientConfig) *signaling.Client {
	t.Helper()
	k, err := signaling.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	cl, err := signaling.NewClient(url, k, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cl.Close() })
	return cl
}

// The arguments of a relay are given as the relay prints them.
func TestDevelopment(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, "--dev", "--listen", "127.0.0.1:0",
		"--relay", "turn:203.0.113.5:3478?transport=udp", "--relay", "turn:203.0.113.5:3478?transport=tcp",
		"--stun", "203.0.113.5:3478", "--relay-secret-file", secret)
	if !regexp.MustCompile(`^ws://127\.0\.0\.1:[1-9]\d*/v1$`).MatchString(p.url) {
		t.Errorf("url %q", p.url)
	}
	a := client(t, p.url, nil)
	b := client(t, strings.Replace(p.url, "127.0.0.1", "localhost", 1), nil) // by its other name
	s, err := a.Services(t.Context())
	if err != nil || len(s.Relays) != 2 || s.Relays[1].URL != "turn:203.0.113.5:3478?transport=tcp" ||
		s.Relays[0].Credential == "" || !slices.Equal(s.STUN, []string{"203.0.113.5:3478"}) {
		t.Errorf("services %+v, %v; want the relay's", s, err)
	}
	if _, err := b.Services(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := a.Send(t.Context(), b.ID(), []byte("hi")); err != nil {
		t.Error(err)
	}
	if e, err := b.Recv(t.Context()); err != nil || string(e.Payload) != "hi" {
		t.Errorf("%+v, %v", e, err)
	}
	web := "http" + strings.TrimSuffix(strings.TrimPrefix(p.url, "ws"), "/v1")
	for path, want := range map[string]int{"/livez": 200, "/readyz": 200, "/metrics": 404, "/": 404, "/v1": http.StatusUpgradeRequired} {
		if got, _ := get(t, web+path); got != want {
			t.Errorf("%s: status %d, want %d", path, got, want)
		}
	}
	m := regexp.MustCompile(`http://127\.0\.0\.1:\d+/metrics`).FindString(p.log.String())
	if _, body := get(t, m); !strings.Contains(body, `runnel_rendezvous_sends_total{result="ok"} 1`) ||
		!strings.Contains(body, "go_goroutines") {
		t.Errorf("metrics at %s:\n%s", m, body)
	}
	p.stop(program.ExitOK)
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestExitCodes(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	tests := []struct {
		args string
		code int
		says string
	}{
		{"--help", program.ExitOK, "RUNNEL_RENDEZVOUS_RELAY_SECRET_FILE"},
		{"--version", program.ExitOK, ""},
		{"--bogus", program.ExitUsage, "--bogus"},
		{"extra", program.ExitUsage, "extra"},
		{"--dev --log-level loud", program.ExitUsage, "loud"},
		{"--dev --trusted-proxy 10.0.0.0", program.ExitUsage, "trusted-proxy"},
		{"--dev --shutdown-timeout soon", program.ExitUsage, "shutdown-timeout"},
		{"", program.ExitConfig, "--name"},
		{"--name x.example", program.ExitConfig, "--tls-cert"},
		{"--name x.example --tls-cert c.pem", program.ExitConfig, "go together"},
		{"--name x.example --tls-cert " + empty + " --tls-key " + empty, program.ExitConfig, "certificate"},
		{"--name x.example:443 --trusted-proxy 10.0.0.0/8", program.ExitConfig, "without scheme and port"},
		{"--name x.example --trusted-proxy 10.0.0.0/8 --relay turn:r.example", program.ExitConfig, "--relay-secret-file"},
		{"--dev --relay stun:x", program.ExitConfig, "stun:x"},
		{"--dev --stun x", program.ExitConfig, "host:port"},
		{"--dev --relay-secret short", program.ExitConfig, "16 bytes"},
		{"--dev --relay-secret-file " + empty, program.ExitConfig, "is empty"},
		{"--dev --relay-secret-file " + filepath.Join(dir, "none"), program.ExitConfig, "none"},
		{"--dev --relay-secret 0123456789abcdef --relay-secret-file " + empty, program.ExitConfig, "exclude"},
		{"--dev --listen 8080", program.ExitConfig, "--listen"},
		{"--dev --listen :8080", program.ExitConfig, "needs --name"},
		{"--dev --metrics-listen 9", program.ExitConfig, "--metrics-listen"},
		{"--dev --max-connections 0", program.ExitConfig, "--max-connections"},
		{"--dev --credential-ttl 1s", program.ExitConfig, "credentials"},
		{"--dev --allow-origin *", program.ExitConfig, "origin"},
		{"--dev --listen " + taken.Addr().String(), program.ExitRuntime, "address already in use"},
	}
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			var out bytes.Buffer
			code := run(strings.Fields(tt.args), &out, &out, make(chan os.Signal))
			if code != tt.code || !strings.Contains(out.String(), tt.says) {
				t.Errorf("exit code %d, %s\nwant %d and a word about %q", code, &out, tt.code, tt.says)
			}
		})
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("RUNNEL_RENDEZVOUS_DEV", "true")
	t.Setenv("RUNNEL_RENDEZVOUS_LISTEN", "127.0.0.1:0")
	t.Setenv("RUNNEL_RENDEZVOUS_RELAY", "turn:a.example?transport=udp,turn:a.example?transport=tcp")
	t.Setenv("RUNNEL_RENDEZVOUS_METRICS_LISTEN", "off")
	p := start(t)
	s, err := client(t, p.url, nil).Services(t.Context())
	if err != nil || len(s.Relays) != 2 || s.Relays[0].Credential != "" {
		t.Errorf("%+v, %v; want both relays, without credentials", s, err)
	}
	if strings.Contains(p.log.String(), "msg=metrics") {
		t.Error("metrics are served though they are off")
	}
	p.stop(program.ExitOK)
}

// A stuckConn takes nothing in any more once it is stuck.
type stuckConn struct {
	net.Conn
	stuck  *atomic.Bool
	once   sync.Once
	closed chan struct{}
}

func (c *stuckConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.stuck.Load() {
		<-c.closed
		return 0, net.ErrClosed
	}
	return n, err
}

func (c *stuckConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

func TestSecondSignal(t *testing.T) {
	p := start(t, "--dev", "--listen", "127.0.0.1:0", "--shutdown-timeout", "1h")
	var stuck atomic.Bool
	c := client(t, p.url, &signaling.ClientConfig{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		return &stuckConn{Conn: conn, stuck: &stuck, closed: make(chan struct{})}, err
	}})
	if _, err := c.Services(t.Context()); err != nil {
		t.Fatal(err)
	}
	stuck.Store(true) // the server waits for its farewell to be answered
	p.signals <- syscall.SIGTERM
	p.stop(program.ExitRuntime)
	if !strings.Contains(p.log.String(), "second signal") {
		t.Errorf("the log does not say why:\n%s", p.log)
	}
}

func TestProduction(t *testing.T) {
	certFile, keyFile, pool := programtest.Certificate(t, t.TempDir(), 1, "rendezvous.example")
	p := start(t, "--name", "rendezvous.example", "--listen", "127.0.0.1:0", "--tls-cert", certFile, "--tls-key", keyFile,
		"--metrics-listen", "127.0.0.1:0")
	if !strings.HasPrefix(p.url, "wss://rendezvous.example:") {
		t.Errorf("url %q", p.url)
	}
	_, port, _ := strings.Cut(strings.TrimPrefix(p.url, "wss://"), ":")
	c := client(t, "wss://127.0.0.1:"+port, &signaling.ClientConfig{
		ServerName: "rendezvous.example",
		TLS:        &tls.Config{RootCAs: pool, ServerName: "rendezvous.example"},
	})
	if _, err := c.Services(t.Context()); err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`http://127\.0\.0\.1:\d+/metrics`).FindString(p.log.String())
	if _, body := get(t, m); !strings.Contains(body, "runnel_rendezvous_certificate_expiry_timestamp_seconds 1.") {
		t.Errorf("no end of the certificate at %s:\n%s", m, body)
	}
	p.stop(program.ExitOK)
	for line := range strings.Lines(p.log.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("log line %q, want JSON", line)
		}
	}
}
