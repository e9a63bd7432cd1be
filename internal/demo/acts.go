// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

const (
	meetTime = 20 * time.Second // to find each other
	lineTime = 5 * time.Second  // for a line to arrive
	fileTime = 25 * time.Second // for the file
	partTime = 10 * time.Second // to say goodbye
)

// meet has alice add bob by his ID, which is all she knows of him.
func (d *demo) meet(ctx context.Context, alice, bob *talker) error {
	begin := time.Now()
	if err := alice.write("/add " + bob.id); err != nil {
		return err
	}
	ready := `\* ready (\S+) (\S+) path=(\S+) rtt=(\S+) addr=(\S+).*`
	a, err := alice.hear(ctx, ready, meetTime)
	if err != nil {
		return err
	}
	took := time.Since(begin)
	b, err := bob.hear(ctx, ready, meetTime)
	if err != nil {
		return err
	}
	if a[1] != bob.id || b[1] != alice.id || a[2] != bob.nick || b[2] != alice.nick {
		return fmt.Errorf("they met others: %q and %q", a[0], b[0])
	}
	d.fact("met", "in %v from /add to the first words, %s", round(took), a[3])
	want := "direct"
	if d.relayed {
		want = "relayed"
	}
	if a[3] != want { // a session may begin on the relay and move
		moved, err := alice.hear(ctx, `\* path bob (\S+) (\S+) .*`, meetTime)
		if err != nil {
			return fmt.Errorf("the path is %s, not %s: %w", a[3], want, err)
		}
		if moved[2] != want {
			return fmt.Errorf("the path is %s, not %s", moved[2], want)
		}
		d.fact("moved", "from the path %s to %s, in place", moved[1], moved[2])
	}
	d.gap()
	return nil
}

// script is the conversation: who speaks, and what.
var script = []struct {
	alice bool
	text  string
}{
	{true, "Hello Bob. All I knew of you was your public key."},
	{false, "Hello Alice! The rendezvous introduced us, and is out of it now."},
	{true, "Can it read this?"},
	{false, "No. Neither can the relay: only we two have the keys."},
	{true, "Ünïcödé, 漢字 and 👋 get through, too?"},
	{false, "✔ 漢字 👋"},
	{true, "Then take this file. Lines still get through while it is under way."},
}

// talk has them say their lines. Each must arrive, and the sender must be told so.
func (d *demo) talk(ctx context.Context, alice, bob *talker) error {
	for _, s := range script {
		from, to := alice, bob
		if !s.alice {
			from, to = bob, alice
		}
		if err := d.say(ctx, from, to, s.text); err != nil {
			return err
		}
	}
	d.gap()
	return nil
}

func (d *demo) say(ctx context.Context, from, to *talker, text string) error {
	from.lines++
	begin := time.Now()
	if err := from.write(text); err != nil {
		return err
	}
	if _, err := to.hear(ctx, regexp.QuoteMeta("< "+from.nick+": "+text), lineTime); err != nil {
		return err
	}
	took := time.Since(begin)
	if _, err := from.hear(ctx, fmt.Sprintf(`\* delivered %d`, from.lines), lineTime); err != nil {
		return err
	}
	d.quote(from.nick, text, round(took).String())
	return nil
}

// A sentFile is a file that alice is sending.
type sentFile struct {
	path  string
	size  int
	begin time.Time
}

const fileName = "random bytes.bin"

// offer has alice begin to send a file of random bytes.
func (d *demo) offer(alice *talker, size int) (sentFile, error) {
	f := sentFile{path: filepath.Join(alice.dir, fileName), size: size, begin: time.Now()}
	content := make([]byte, size)
	_, _ = rand.Read(content)
	if err := os.WriteFile(f.path, content, 0o600); err != nil {
		return f, err
	}
	return f, alice.write(`/send "` + f.path + `" bob`)
}

// sendFile has alice send a file, and compares what is on disk afterwards.
func (d *demo) sendFile(ctx context.Context, alice, bob *talker) error {
	a, b := *alice.r, *bob.r // the file may be through before the line is
	f, err := d.offer(alice, d.size)
	if err != nil {
		return err
	}
	if err := d.say(ctx, bob, alice, "It is coming in."); err != nil {
		return err
	}
	d.gap()
	return d.compare(ctx, f, alice, bob, &a, &b)
}

// compare waits until both say that the file is there, in what the readers read, and compares it.
func (d *demo) compare(ctx context.Context, f sentFile, alice, bob *talker, aliceFrom, bobFrom *reader) error {
	quoted := regexp.QuoteMeta(fileName)
	b, err := bob.expect(ctx, bobFrom, fmt.Sprintf(`\* file received (.*%s) %d sha256=(\S+) rate=(\S+) from=alice`, quoted, f.size), fileTime)
	if err != nil {
		return err
	}
	a, err := alice.expect(ctx, aliceFrom, fmt.Sprintf(`\* file sent %s %d sha256=(\S+) rate=(\S+) to=bob`, quoted, f.size), fileTime)
	if err != nil {
		return err
	}
	took := time.Since(f.begin)
	received := b[1]
	if !filepath.IsAbs(received) {
		received = filepath.Join(bob.dir, received)
	}
	sumSent, err := hashFile(f.path)
	if err != nil {
		return err
	}
	sumReceived, err := hashFile(received)
	if err != nil {
		return err
	}
	d.fact("file", "%.1f MiB in %v: %s sent, %s received", float64(f.size)/(1<<20), round(took), a[2], b[3])
	d.fact("sha256", "%s  on alice's disk", sumSent)
	d.fact("sha256", "%s  on bob's disk", sumReceived)
	if sumSent != sumReceived || a[1] != sumSent || b[2] != sumReceived {
		return fmt.Errorf("the hashes differ: on disk %s and %s, according to the chats %s and %s", sumSent, sumReceived, a[1], b[2])
	}
	return nil
}

func hashFile(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// showPaths asks both how packets travel.
func (d *demo) showPaths(ctx context.Context, alice, bob *talker) error {
	want := "direct"
	if d.relayed {
		want = "relayed"
	}
	for _, t := range []*talker{alice, bob} {
		if err := t.write("/path"); err != nil {
			return err
		}
		now, err := t.hear(ctx, `\* path-now \S+ (\S+) (.*)`, lineTime)
		if err != nil {
			return err
		}
		moved, err := t.hear(ctx, `\* path-bytes \S+ (.*)`, lineTime)
		if err != nil {
			return err
		}
		timeline, err := t.hear(ctx, `\* path-timeline \S+ (.*)`, lineTime)
		if err != nil {
			return err
		}
		d.fact("path", "%s: %s %s", t.nick, now[1], now[2])
		d.fact("", "%s", moved[1])
		d.fact("timeline", "%s", strings.ReplaceAll(timeline[1], " ", " · "))
		if now[1] != want {
			return fmt.Errorf("the path of %s is %s, not %s", t.nick, now[1], want)
		}
	}
	return nil
}

// part has alice quit, which bob must notice, and ends bob's input, which must end him.
func (d *demo) part(ctx context.Context, alice, bob *talker) error {
	ctx, cancel := context.WithTimeout(ctx, partTime)
	defer cancel()
	if err := alice.write("/quit"); err != nil {
		return err
	}
	if _, err := bob.hear(ctx, `\* ended `+alice.id+` alice: .*`, partTime); err != nil {
		return err
	}
	return errors.Join(alice.wait(ctx), bob.stdin.Close(), bob.wait(ctx))
}

// round leaves about three digits.
func round(d time.Duration) time.Duration {
	switch {
	case d < time.Millisecond:
		return d.Round(time.Microsecond)
	case d < 100*time.Millisecond:
		return d.Round(100 * time.Microsecond)
	}
	return d.Round(time.Millisecond)
}
