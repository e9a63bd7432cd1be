// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e && linux

package e2e

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/netns"
)

// A file goes through two NATs and a link that loses a packet in fifty in each direction.
func TestFile(t *testing.T) {
	const size = 20 << 20
	const fileTime = 90 * time.Second
	l := newLab(t, labConfig{})
	p := l.pair(
		&netns.SiteConfig{NAT: netns.Cone, Family: netns.IPv4, Loss: 0.02},
		cone,
	)
	meet(p.alice, p.bob)
	p.alice.direct(p.bob)

	content := make([]byte, size)
	if _, err := rand.Read(content); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(content)
	want := hex.EncodeToString(sum[:])
	path := filepath.Join(t.TempDir(), "picture.raw")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	p.alice.say("/send " + path)
	received := p.bob.expect(fileTime, `^\* file (?:received (.+) \d+ sha256=(\w+)|failed .*)`)
	took := time.Since(begin)
	p.alice.expect(fileTime, `^\* file sent picture\.raw `)
	t.Logf("%d bytes in %v, %.1f Mbit/s", size, took.Round(time.Millisecond), size*8/took.Seconds()/1e6)
	if received[1] == "" {
		t.Fatalf("bob says %q, want the file to arrive", received[0])
	}
	at := received[1]
	if !filepath.IsAbs(at) {
		at = filepath.Join(p.bob.dir, at)
	}
	got, err := os.ReadFile(at)
	if err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(got); hex.EncodeToString(sum[:]) != want || received[2] != want {
		t.Errorf("%d bytes with SHA-256 %x are on disk, %s was told, want %d bytes with %s",
			len(got), sum, received[2], size, want)
	}
	talk(p.alice, p.bob, "seen it")
	p.alice.sameSession()
}

// A line does not wait behind a file: on a link that the file fills, it is delivered in about the time that its queue
// takes to drain, 50 ms, and not when the file is through.
func TestLineDuringFile(t *testing.T) {
	const rate, size = 10e6, 5 << 20 // bits per second, bytes
	const ideal = time.Duration(size * 8 / rate * float64(time.Second))
	const soon = time.Second
	l := newLab(t, labConfig{})
	p := l.pair(&netns.SiteConfig{NAT: netns.Cone, Family: netns.IPv4, Rate: rate}, cone)
	meet(p.alice, p.bob)
	p.alice.direct(p.bob)
	path := filepath.Join(t.TempDir(), "film.raw")
	if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	p.alice.say("/send " + path)
	p.bob.expect(connectTime, `^\* file receiving film\.raw `)
	var worst time.Duration
	for i := range 10 {
		said := time.Now()
		p.alice.tell(p.bob, "line "+strconv.Itoa(i), talkTime)
		worst = max(worst, time.Since(said))
	}
	if done := p.bob.printed(0, `^\* file received `); len(done) > 0 {
		t.Error("the file was through before the lines, want it to fill the link")
	}
	p.bob.expect(talkTime+5*ideal, `^\* file received `)
	took := time.Since(begin)
	t.Logf("%d bytes in %v, %.1f of %.1f Mbit/s; of 10 lines meanwhile the last was known to be delivered after %v",
		size, took.Round(time.Millisecond), size*8/took.Seconds()/1e6, rate/1e6, worst.Round(time.Millisecond))
	if worst > soon {
		t.Errorf("a line took %v beside the file, want less than %v", worst, soon)
	}
}
