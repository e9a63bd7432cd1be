// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"testing"
	"time"
)

// TestGigabyte streams 10⁹ bytes as one message through a path that loses 30 % of the packets each way, reorders and
// doubles them. What comes out is what went in.
func TestGigabyte(t *testing.T) {
	total := 1_000_000_000
	if testing.Short() || raceEnabled {
		total /= 100
	}
	p := newPair(t, Config{}, Config{})
	p.eachLink(func(l *link) {
		l.delay, l.jitter, l.loss, l.dup = 5*ms, 3*ms, 0.3, 0.05
		l.passing = &overtaking{part: 0.02, by: 20}
	})
	p.a.limit = 8900 // as on a path of jumbo frames: fewer packets for as many bytes
	f := p.open(p.a, "gigabyte", &Options{SendBuffer: 8 << 20})
	w := f.Writer(over)
	// The content repeats after a prime number of bytes, so that no two parts of it are alike.
	const period = 1<<20 + 7
	source := bytes.Repeat(pattern(period, 1), 2)
	in, out := sha256.New(), sha256.New()
	sent := 0
	var r *Receiver
	var mr *MessageReader
	done := false
	counted := &countingHash{Hash: out}
	p.until(100*time.Hour, "all has arrived", func() bool {
		for sent < total && f.roomFor(8<<20) {
			n := min(maxPart, total-sent)
			b := source[sent%period:][:n]
			if k, err := w.Write(b); err != nil {
				t.Fatalf("after %d bytes: %v", sent+k, err)
			}
			in.Write(b)
			sent += n
		}
		if sent == total && w.Receipt() == nil && f.roomFor(8<<20) {
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if r == nil {
			r, _ = p.b.m.Accept(over)
		}
		if r != nil && mr == nil {
			mr, _ = r.NextReader(over)
		}
		if mr != nil && !done {
			_, err := mr.WriteTo(counted)
			if done = err == nil; err != nil && !errors.Is(err, context.Canceled) {
				t.Fatalf("after %d bytes: %v", counted.n, err)
			}
		}
		return done
	})
	s := p.a.m.Stats()
	t.Logf("%d bytes in %v, %d packets, %d lost, %d of them not, %d timeouts; %d bytes came again", counted.n, p.now.Sub(epoch),
		s.PacketsSent, s.PacketsLost, s.PacketsSpurious, s.TotalTimeouts, p.b.m.Stats().BytesDuplicate)
	if counted.n != total || !bytes.Equal(in.Sum(nil), out.Sum(nil)) {
		t.Errorf("%d bytes arrived, of %d, or others than were sent", counted.n, total)
	}
	if p.a.link.drops < int(s.PacketsSent)/5 {
		t.Errorf("%d of %d packets lost, want nearly a third", p.a.link.drops, s.PacketsSent)
	}
	if err := p.closeFlow(f); err != nil {
		t.Error(err)
	}
	if err := w.Receipt().Err(); err != nil || w.Receipt().Outcome() != Delivered {
		t.Errorf("receipt %v, %v, want Delivered", w.Receipt().Outcome(), err)
	}
	if _, err := r.NextReader(over); err != io.EOF {
		t.Errorf("after the message: %v, want io.EOF", err)
	}
	p.run(10 * time.Second)
	p.wantNoLeak()
}

// roomFor reports whether less than size bytes are waiting.
func (s *Sender) roomFor(size int) bool {
	s.gate.Lock()
	defer func() { s.gate.Unlock(s.writable()) }()
	return s.buffered < size
}

// A countingHash counts what it sums.
type countingHash struct {
	hash.Hash
	n int
}

func (h *countingHash) Write(b []byte) (int, error) {
	h.n += len(b)
	return h.Hash.Write(b)
}
