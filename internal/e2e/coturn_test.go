// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e && linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// startCoturn starts the relay that most of the Internet uses, with the secret that the rendezvous has.
func (l *lab) startCoturn() {
	l.t.Helper()
	path, err := exec.LookPath("turnserver")
	if err != nil {
		l.t.Skip("e2e: the program turnserver is not installed (Debian: coturn)")
	}
	dir := l.t.TempDir()
	config := []string{
		fmt.Sprint("listening-port=", relayPort),
		fmt.Sprint("listening-ip=", l.relayHost.Addr()),
		fmt.Sprint("relay-ip=", l.relayHost.Addr()),
		"use-auth-secret", "static-auth-secret=" + secret, "realm=test",
		"no-cli", "no-tls", "no-dtls", "no-multicast-peers", "fingerprint",
		"relay-threads=1", "userdb=" + filepath.Join(dir, "turndb"), "pidfile=" + filepath.Join(dir, "pid"),
		"log-file=stdout", "simple-log", "verbose",
	}
	file := filepath.Join(dir, "turnserver.conf")
	if err := os.WriteFile(file, []byte(strings.Join(config, "\n")+"\n"), 0o600); err != nil {
		l.t.Fatal(err)
	}
	l.relay = start(l.t, l.relayHost, "coturn", path, "-c", file)
	l.relay.expect(startTime, "UDP listener opened|SQLite DB connection success")
}

// Our peers behind NATs that allow nothing else talk through a relay that is not ours.
func TestCoturn(t *testing.T) {
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			l := newLab(t, labConfig{coturn: true, tcp: transport == "tcp"})
			p := l.pair(symmetric, symmetric)
			meet(p.alice, p.bob)
			talk(p.alice, p.bob, "through coturn")
			p.check("relayed")
		})
	}
}
