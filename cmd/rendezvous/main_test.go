// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
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
	"time"

	"go.uber.org/goleak"

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
	p.stop(exitOK)
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
		{"--help", exitOK, "RUNNEL_RENDEZVOUS_RELAY_SECRET_FILE"},
		{"--version", exitOK, ""},
		{"--bogus", exitUsage, "--bogus"},
		{"extra", exitUsage, "extra"},
		{"--dev --log-level loud", exitUsage, "loud"},
		{"--dev --trusted-proxy 10.0.0.0", exitUsage, "trusted-proxy"},
		{"--dev --shutdown-timeout soon", exitUsage, "shutdown-timeout"},
		{"", exitConfig, "--name"},
		{"--name x.example", exitConfig, "--tls-cert"},
		{"--name x.example --tls-cert c.pem", exitConfig, "go together"},
		{"--name x.example --tls-cert " + empty + " --tls-key " + empty, exitConfig, "certificate"},
		{"--name x.example:443 --trusted-proxy 10.0.0.0/8", exitConfig, "without scheme and port"},
		{"--name x.example --trusted-proxy 10.0.0.0/8 --relay turn:r.example", exitConfig, "--relay-secret-file"},
		{"--dev --relay stun:x", exitConfig, "stun:x"},
		{"--dev --stun x", exitConfig, "host:port"},
		{"--dev --relay-secret short", exitConfig, "16 bytes"},
		{"--dev --relay-secret-file " + empty, exitConfig, "is empty"},
		{"--dev --relay-secret-file " + filepath.Join(dir, "none"), exitConfig, "none"},
		{"--dev --relay-secret 0123456789abcdef --relay-secret-file " + empty, exitConfig, "exclude"},
		{"--dev --listen 8080", exitConfig, "--listen"},
		{"--dev --listen :8080", exitConfig, "needs --name"},
		{"--dev --metrics-listen 9", exitConfig, "--metrics-listen"},
		{"--dev --max-connections 0", exitConfig, "--max-connections"},
		{"--dev --credential-ttl 1s", exitConfig, "credentials"},
		{"--dev --allow-origin *", exitConfig, "origin"},
		{"--dev --listen " + taken.Addr().String(), exitRuntime, "address already in use"},
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
	p.stop(exitOK)
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
	p.stop(exitRuntime)
	if !strings.Contains(p.log.String(), "second signal") {
		t.Errorf("the log does not say why:\n%s", p.log)
	}
}

func writeCertificate(t *testing.T, dir string, serial int64) (certFile, keyFile string, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial),
		NotAfter:     time.Now().Add(time.Hour),
		DNSNames:     []string{"rendezvous.example"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for name, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool = x509.NewCertPool()
	pool.AddCert(cert)
	return certFile, keyFile, pool
}

func TestProduction(t *testing.T) {
	certFile, keyFile, pool := writeCertificate(t, t.TempDir(), 1)
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
	p.stop(exitOK)
	for line := range strings.Lines(p.log.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("log line %q, want JSON", line)
		}
	}
}

func TestCertificateIsReadAgain(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile, _ := writeCertificate(t, dir, 1)
	c, err := loadCertificate(certFile, keyFile, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	serial := func() int64 {
		c.checked = time.Time{} // as if it had not looked for long
		cert, err := c.get(nil)
		if err != nil {
			t.Fatal(err)
		}
		return cert.Leaf.SerialNumber.Int64()
	}
	if got := serial(); got != 1 {
		t.Errorf("serial %d, want 1", got)
	}
	if err := os.WriteFile(keyFile, []byte("half a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := serial(); got != 1 {
		t.Errorf("with a broken file: serial %d, want the old one", got)
	}
	writeCertificate(t, dir, 2)
	if got := serial(); got != 2 {
		t.Errorf("after renewal: serial %d, want 2", got)
	}
	if err := os.Remove(certFile); err != nil {
		t.Fatal(err)
	}
	if got := serial(); got != 2 {
		t.Errorf("with a missing file: serial %d, want the last one", got)
	}
}
