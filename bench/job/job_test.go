// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package job

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"
)

// TestMain makes this program its own child, as compare is.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == ChildArg {
		if Main(os.Stdin, os.Stdout) != nil {
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func outcome(t *testing.T, spec Spec) *Outcome {
	t.Helper()
	p, err := Start(t.Context(), spec, Loopback(), Loopback())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	o, err := p.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestBulkWithVoice(t *testing.T) {
	o := outcome(t, Spec{Transport: "tls", Job: Bulk, Size: 16 << 10, Duration: VoiceLead + voiceTail + 200*time.Millisecond, Voice: true})
	if o.Server.Bytes == 0 || o.Client.Bytes == 0 {
		t.Errorf("%d bytes sent, %d received, want some", o.Client.Bytes, o.Server.Bytes)
	}
	var sum uint64
	for _, n := range o.Server.Series {
		sum += n
	}
	if sum != o.Server.Bytes {
		t.Errorf("the series adds up to %d bytes, want %d", sum, o.Server.Bytes)
	}
	if v := o.Server.Voice; v == nil || v.Sent != 10 || len(v.Lag) != 10 {
		t.Errorf("voice is %+v, want 10 messages in 200 ms, all received", v)
	}
	if o.Client.CPU <= 0 || o.Server.CPU <= 0 || o.Client.MaxRSS < 1<<20 {
		t.Errorf("used %v and %v of a processor and %d bytes: not measured", o.Client.CPU, o.Server.CPU, o.Client.MaxRSS)
	}
}

func TestPing(t *testing.T) {
	o := outcome(t, Spec{Transport: "udp", Job: Ping, Size: 64, Duration: 50 * time.Millisecond, WarmUp: 20 * time.Millisecond})
	if d := o.Client.End - o.Client.Start; d < 70*time.Millisecond {
		t.Errorf("it took %v, want the warm-up and the duration", d)
	}
	if c := o.Client; c.Messages == 0 || c.MicrosP50 <= 0 || c.MicrosP99 < c.MicrosP50 {
		t.Errorf("%d round trips, p50 %v µs, p99 %v µs", c.Messages, c.MicrosP50, c.MicrosP99)
	}
}

func TestIdle(t *testing.T) {
	o := outcome(t, Spec{Transport: "quic-go", Job: Idle, Count: 5, Settle: 100 * time.Millisecond})
	for _, r := range []*Result{o.Server, o.Client} {
		if r.Messages != 5 || r.Heap == 0 || r.Goroutines < 1 {
			t.Errorf("%d connections of %d bytes and %v goroutines, want 5, which cost something", r.Messages, r.Heap, r.Goroutines)
		}
	}
}

// TestFailure expects a child's reason, and no children left behind.
func TestFailure(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	_, err := Start(ctx, Spec{Transport: "smoke", Job: Bulk}, Loopback(), Loopback())
	if err == nil || !strings.Contains(err.Error(), "no transport") {
		t.Errorf("error %v, want one that names the cause", err)
	}
}
