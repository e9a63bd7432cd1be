// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
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

// Two processes find each other through a rendezvous and talk gRPC: a call, a stream, an error.
func TestTwoProcesses(t *testing.T) {
	key := filepath.Join(t.TempDir(), "client.pem")
	private, err := signaling.LoadOrCreateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	common := []string{"--rendezvous", startRendezvous(t), "--loopback", "--listen", "127.0.0.1:0"}
	server, _ := startServer(t, append(common, "serve")...)
	greet := append(append([]string(nil), common...), "--key", key, "greet", server)

	out, err := program(t, append(greet, "Ada", "Grace", "Barbara")...).Output()
	want := "hello Ada, says the greeter to " + signaling.IDFromKey(private).String() + "\nhello Ada\nhello Grace\nhello Barbara\n"
	if err != nil || string(out) != want {
		t.Errorf("the greeter's answers are %q, %v; want %q", out, err, want)
	}

	var failed *exec.ExitError
	out, err = program(t, append(greet, "Ada", "")...).Output()
	if !errors.As(err, &failed) || failed.ExitCode() != 1 || !bytes.Contains(failed.Stderr, []byte("InvalidArgument desc = nobody to greet")) {
		t.Errorf("greeting nobody: %q, %v; want the greeter's error", out, err)
	}
}

// With a known address no rendezvous is needed.
func TestKnownAddress(t *testing.T) {
	common := []string{"--loopback", "--listen", "127.0.0.1:0"}
	_, addr := startServer(t, append(common, "serve")...)
	out, err := program(t, append(common, "greet", addr, "Ada")...).Output()
	if err != nil || !bytes.HasSuffix(out, []byte("\nhello Ada\n")) {
		t.Errorf("the greeter's answer is %q, %v", out, err)
	}
}
