// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/signaling"
	"github.com/seed-98f0d4c2/runnel/signaling/rendezvous"
)

// asProgram makes the test binary behave as the program, so that a test has processes of it to run.
const asProgram = "RUNNEL_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// program returns the program with arguments, as a process that is ended with the test.
func program(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	cmd.Cancel = func() error {
		if cmd.Process.Signal(os.Interrupt) != nil { // not on every system
			return cmd.Process.Kill()
		}
		return nil
	}
	cmd.WaitDelay = time.Minute
	return cmd
}

// startServer starts a serving process, and returns the ID and an ID@address that it prints.
func startServer(t *testing.T, args ...string) (id, addr string) {
	t.Helper()
	cmd := program(t, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Wait() // t.Context has ended
		if code := cmd.ProcessState.ExitCode(); code != 0 && runtime.GOOS != "windows" {
			t.Errorf("the server ended with code %d:\n%s", code, stderr.String())
		}
	})
	lines := bufio.NewScanner(out)
	for addr == "" && lines.Scan() {
		what, value, _ := strings.Cut(lines.Text(), " ")
		switch what {
		case "serving":
			id = value
		case "address":
			addr = value
		}
	}
	if addr == "" {
		t.Fatalf("the server says no address:\n%s", stderr.String())
	}
	return id, addr
}

// fetched runs a fetching process to its end and returns what it printed.
func fetched(t *testing.T, args ...string) (stdout []byte, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := program(t, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v:\n%s", args, err, errs.String())
	}
	return out.Bytes(), strings.TrimSpace(errs.String())
}

// startRendezvous returns the URL of a rendezvous in this process.
func startRendezvous(t *testing.T) string {
	t.Helper()
	srv, err := rendezvous.New(&rendezvous.Config{Name: "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(srv)
	t.Cleanup(func() {
		_ = srv.Shutdown(context.Background())
		web.Close()
	})
	return strings.Replace(web.URL, "http", "ws", 1)
}

// Two processes find each other through a rendezvous; one serves, the other asks by both versions of HTTP, and sends
// and fetches a file that is larger than any window.
func TestTwoProcesses(t *testing.T) {
	url := startRendezvous(t)
	dir := t.TempDir()
	file := make([]byte, 20<<20)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(file)
	path := filepath.Join(dir, "file")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(dir, "client.pem")
	private, err := signaling.LoadOrCreateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	common := []string{"--rendezvous", url, "--loopback", "--listen", "127.0.0.1:0"}
	server, _ := startServer(t, append(common, "serve", "--dir", dir)...)

	for proto, flag := range map[string]string{"HTTP/1.1": "--timeout=5m", "HTTP/2.0": "--http2"} {
		fetch := func(status string, args ...string) []byte {
			t.Helper()
			out, errs := fetched(t, append(append(append([]string(nil), common...), "--key", key, "fetch", flag), args...)...)
			if want := proto + " " + status; errs != want {
				t.Errorf("%s %s: %q, want %q", proto, args, errs, want)
			}
			return out
		}
		if got := fetch("200 OK", server, "/files/file"); !bytes.Equal(got, file) {
			t.Errorf("%s: the file arrived as %d bytes, not as the %d sent", proto, len(got), len(file))
		}
		want := fmt.Sprintf("%x %d bytes\n", sha256.Sum256(file), len(file))
		if got := fetch("200 OK", "--upload", path, server, "/sum"); string(got) != want {
			t.Errorf("%s: the server's sum is %s, want %s", proto, got, want)
		}
		if got, want := string(fetch("200 OK", server, "/whoami")), signaling.IDFromKey(private).String()+"\n"; got != want {
			t.Errorf("%s: the server says that we are %s, want %s", proto, got, want)
		}
		fetch("404 Not Found", server, "/files/none")
	}
}

// With a known address no rendezvous is needed.
func TestKnownAddress(t *testing.T) {
	common := []string{"--loopback", "--listen", "127.0.0.1:0"}
	_, addr := startServer(t, append(common, "serve", "--dir", t.TempDir())...)
	out, errs := fetched(t, append(common, "fetch", addr, "/files/")...)
	if errs != "HTTP/1.1 200 OK" || !bytes.Contains(out, []byte("<pre>")) {
		t.Errorf("the directory was answered with %s: %s", errs, out)
	}
}

func TestWrongUse(t *testing.T) {
	key, err := signaling.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		why  string // what must be said
		args []string
	}{
		{"expected one of", nil},
		{"expected \"<path>\"", []string{"fetch", "x"}},
		{"/does/not/exist", []string{"serve", "--dir", "/does/not/exist"}},
		{"dance", []string{"dance"}},
		{"bad peer ID", []string{"fetch", "nobody", "/"}},
		{"--rendezvous", []string{"fetch", signaling.IDFromKey(key).String(), "/"}}, // no address
	} {
		out, err := program(t, c.args...).CombinedOutput()
		if _, failed := errors.AsType[*exec.ExitError](err); !failed || !bytes.Contains(out, []byte(c.why)) {
			t.Errorf("%q ends with %v and says %q; want that it fails and says %q", c.args, err, out, c.why)
		}
	}
	if out, err := program(t, "--help").Output(); err != nil || len(out) == 0 {
		t.Errorf("--help prints %d bytes, %v", len(out), err)
	}
}
