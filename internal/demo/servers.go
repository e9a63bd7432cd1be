// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

const startTime = 10 * time.Second // for a program to say that it is there

// programs are what is built, and the packages they are in.
var programs = map[string]string{
	"rendezvous": "./cmd/rendezvous",
	"relay":      "./cmd/relay",
	"chat":       "./examples/chat",
}

// program is where a program is after build.
func (d *demo) program(name string) string {
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	return filepath.Join(d.dir, "bin", name)
}

// build builds the programs from the module this is run in.
func (d *demo) build(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, buildTime)
	defer cancel()
	begin := time.Now()
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return fmt.Errorf("run it inside the module: go list: %w", err)
	}
	for _, name := range []string{"rendezvous", "relay", "chat"} {
		cmd := exec.CommandContext(ctx, "go", "build", "-o", d.program(name), programs[name])
		cmd.Dir = strings.TrimSpace(string(root))
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("building %s: %w\n%s", name, err, out)
		}
	}
	d.fact("built", "rendezvous, relay and chat in %v", time.Since(begin).Round(100*time.Millisecond))
	return nil
}

// A place is where a server runs.
type place struct {
	at   command
	addr string // IP address
}

// startServers returns the URL of the rendezvous.
func (d *demo) startServers(ctx context.Context, forRelay, forRendezvous place) (string, error) {
	relay, err := d.start(ctx, forRelay.at, "relay", "relay", d.dir,
		"--dev", "--listen", net.JoinHostPort(forRelay.addr, "0"), "--log-level", "debug")
	if err != nil {
		return "", err
	}
	r := &reader{t: relay.out}
	at, err := relay.expect(ctx, r, `listening (.*)`, startTime)
	if err != nil {
		return "", err
	}
	d.fact("relay", "%s", at[1])
	told, err := relay.expect(ctx, r, `rendezvous flags: (.*)`, startTime)
	if err != nil {
		return "", err
	}
	flags, err := shellWords(told[1])
	if err != nil {
		return "", fmt.Errorf("the relay printed %q: %w", told[0], err)
	}

	args := append([]string{"--dev", "--listen", net.JoinHostPort(forRendezvous.addr, "0")}, flags...)
	rendezvous, err := d.start(ctx, forRendezvous.at, "rendezvous", "rendezvous", d.dir, args...)
	if err != nil {
		return "", err
	}
	at, err = rendezvous.expect(ctx, &reader{t: rendezvous.out}, `listening url=(\S+).*`, startTime)
	if err != nil {
		return "", err
	}
	d.fact("rendezvous", "%s", at[1])
	return at[1], nil
}

// stopServers ends the servers as an operator would, and wants them to end well.
func (d *demo) stopServers(ctx context.Context) error {
	if runtime.GOOS == "windows" {
		return nil // where they can only be killed
	}
	for _, p := range d.processes {
		select {
		case <-p.done: // one of the peers
			continue
		default:
		}
		p.signal()
		if err := p.wait(ctx); err != nil {
			return err
		}
	}
	d.fact("ended", "every program, with exit code 0")
	return nil
}

// shellWords splits what is made to be pasted into a POSIX shell: at blanks, minding quotes and backslashes.
func shellWords(s string) ([]string, error) {
	var words []string
	var word strings.Builder
	in, escaped := false, false
	var quote rune
	for _, r := range s {
		switch {
		case escaped:
			if quote == '"' && !strings.ContainsRune("\"\\$`", r) {
				word.WriteByte('\\')
			}
			word.WriteRune(r)
			escaped = false
		case r == '\\' && quote != '\'':
			escaped, in = true, true
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '"' || r == '\'':
			quote, in = r, true
		case r == ' ' || r == '\t':
			if in {
				words = append(words, word.String())
				word.Reset()
				in = false
			}
		default:
			word.WriteRune(r)
			in = true
		}
	}
	if quote != 0 || escaped {
		return nil, errors.New("a quote is open")
	}
	if in {
		words = append(words, word.String())
	}
	return words, nil
}

// mkdir makes a directory for one peer.
func (d *demo) mkdir(name string) (string, error) {
	dir := filepath.Join(d.dir, name)
	return dir, os.Mkdir(dir, 0o700)
}
