// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/seed-98f0d4c2/runnel/bench/job"
	"github.com/seed-98f0d4c2/runnel/bench/transport"
)

// A measurement is a job as the user names it.
type measurement struct {
	name string
	link bool
	// only, if not empty, are the transports it is for, and their variants.
	only []string
	fits func(t *transport.Transport) bool
	run  func(ctx context.Context, s *settings, t *transport.Transport, c conditions) (*record, error)
}

// conditions are what changes from one run of a job to the next.
type conditions struct {
	run  int
	loss float64
}

var measurements = []*measurement{
	{name: "bulk", fits: everyone, run: bulk},
	{name: "msg64", fits: takes(64), run: messages(job.Messages, 64)},
	{name: "msg1k", fits: takes(1 << 10), run: messages(job.Messages, 1<<10)},
	{name: "msg1m", fits: takes(1 << 20), run: messages(job.Messages, 1<<20)},
	{name: "msg64-buf", fits: streams, run: messages(job.Buffered, 64)},
	{name: "msg1k-buf", fits: streams, run: messages(job.Buffered, 1<<10)},
	{name: "ping", fits: everyone, run: ping},
	{name: "idle", fits: func(t *transport.Transport) bool { return t.Idle }, run: idle},
	{name: "link-bulk", link: true, fits: protocol, run: linkBulk},
	{name: "link-voice", link: true, fits: protocol, run: linkVoice},
	{name: "link-fair", link: true, fits: protocol, only: []string{"runnel", "quic-go"}, run: linkFair},
	{name: "link-self", link: true, fits: protocol, only: []string{"runnel", "quic-go"}, run: linkSelf},
	{name: "link-drop", link: true, fits: protocol, only: []string{"runnel", "quic-go", "tls"}, run: linkDrop},
}

func everyone(*transport.Transport) bool   { return true }
func protocol(t *transport.Transport) bool { return !t.Raw }
func streams(t *transport.Transport) bool  { return t.Stream }

func takes(size int) func(*transport.Transport) bool {
	return func(t *transport.Transport) bool { return t.MaxMessage == 0 || size <= t.MaxMessage }
}

func jobNames() (names []string) {
	for _, m := range measurements {
		names = append(names, m.name)
	}
	return names
}

// usesLoss says which jobs are run once for each loss of the link.
func (m *measurement) usesLoss() bool { return m.name == "link-bulk" || m.name == "link-voice" }

func (m *measurement) isFor(t *transport.Transport) bool {
	return m.fits(t) && (len(m.only) == 0 || slices.Contains(m.only, t.Name) || slices.Contains(m.only, t.Variant))
}

// measure does everything, run after run, so that a slow change of the machine meets all transports alike.
func (s *settings) measure(ctx context.Context, rep *report, progress io.Writer) error {
	noLink := os.Getuid() != 0
	for run := range s.runs {
		for _, m := range s.jobs {
			if m.link && noLink {
				rep.note("%s: not run. It takes root, for network namespaces and TUN devices.", m.name)
				continue
			}
			losses := []float64{0}
			if m.usesLoss() {
				losses = s.losses
			}
			for _, loss := range losses {
				for _, t := range s.transports {
					if !m.isFor(t) {
						continue
					}
					fmt.Fprintf(progress, "%-10s %-13s run %d of %d", m.name, t.Name, run+1, s.runs)
					if m.usesLoss() {
						fmt.Fprintf(progress, ", loss %g %%", loss*100)
					}
					rec, err := m.run(ctx, s, t, conditions{run, loss})
					if ctx.Err() != nil {
						fmt.Fprintln(progress)
						return ctx.Err()
					}
					if err != nil {
						fmt.Fprintf(progress, ": %v\n", err)
						rep.note("%s over %s failed: %v", m.name, t.Name, err)
						continue
					}
					rec.Job, rec.Transport, rec.Run, rec.Loss = m.name, t.Name, run, loss
					rep.Records = append(rep.Records, rec)
					for _, key := range slices.Sorted(maps.Keys(rec.Values)) {
						if strings.Contains(key, ": ") {
							continue
						}
						fmt.Fprintf(progress, "  %s %.4g", key, rec.Values[key])
					}
					fmt.Fprintln(progress)
				}
			}
		}
	}
	return nil
}

const chunk = 64 << 10

const countPrefix = "client: "

// count adds the client's own counts to values.
func count(o *job.Outcome, values map[string]float64) map[string]float64 {
	for k, v := range o.Client.Counts {
		values[countPrefix+k] = v
	}
	return values
}

// onLoopback runs a pair on this machine.
func (s *settings) onLoopback(ctx context.Context, spec job.Spec) (*job.Outcome, error) {
	spec.EventLog = s.eventLog
	p, err := job.Start(ctx, spec, job.Loopback(), job.Loopback())
	if err != nil {
		return nil, err
	}
	defer p.Close()
	return p.Run(ctx)
}

// rate returns megabytes a second that arrived.
func rate(o *job.Outcome) float64 { return float64(o.Server.Bytes) / o.Server.Seconds() / 1e6 }

func bulk(ctx context.Context, s *settings, t *transport.Transport, _ conditions) (*record, error) {
	o, err := s.onLoopback(ctx, job.Spec{Transport: t.Name, Job: job.Bulk, Size: chunk, Duration: s.duration})
	if err != nil {
		return nil, err
	}
	if o.Server.Bytes == 0 {
		return nil, errors.New("nothing came in time")
	}
	gb := float64(o.Server.Bytes) / 1e9
	return &record{Values: count(o, map[string]float64{
		"MB/s":              rate(o),
		"send CPU s/GB":     o.Client.CPU.Seconds() / gb,
		"receive CPU s/GB":  o.Server.CPU.Seconds() / gb,
		"CPU s/GB":          (o.Client.CPU + o.Server.CPU).Seconds() / gb,
		"send max RSS MB":   float64(o.Client.MaxRSS) / 1e6,
		"recv max RSS MB":   float64(o.Server.MaxRSS) / 1e6,
		"send CPU share":    o.Client.CPU.Seconds() / o.Client.Seconds(),
		"receive CPU share": o.Server.CPU.Seconds() / o.Server.Seconds(),
	})}, nil
}

func messages(kind job.Job, size int) func(context.Context, *settings, *transport.Transport, conditions) (*record, error) {
	return func(ctx context.Context, s *settings, t *transport.Transport, _ conditions) (*record, error) {
		o, err := s.onLoopback(ctx, job.Spec{Transport: t.Name, Job: kind, Size: size, Duration: s.duration})
		if err != nil {
			return nil, err
		}
		n := float64(o.Server.Messages)
		if n == 0 {
			return nil, errors.New("nothing came in time")
		}
		v := map[string]float64{
			"per s":  n / o.Server.Seconds(),
			"CPU µs": float64((o.Client.CPU + o.Server.CPU).Microseconds()) / n,
		}
		if t.MaxMessage > 0 && !t.Raw {
			v["lost %"] = 100 * max(0, 1-n/float64(o.Client.Messages))
		}
		return &record{Values: count(o, v)}, nil
	}
}

// pingWarmUp is the part of the duration that goes before it: caches, buffers and windows become what they are going to be.
const pingWarmUp = 5

func ping(ctx context.Context, s *settings, t *transport.Transport, _ conditions) (*record, error) {
	o, err := s.onLoopback(ctx, job.Spec{
		Transport: t.Name, Job: job.Ping, Size: 64, Duration: s.duration, WarmUp: s.duration / pingWarmUp,
	})
	if err != nil {
		return nil, err
	}
	return &record{Values: map[string]float64{"p50 µs": o.Client.MicrosP50, "p99 µs": o.Client.MicrosP99}}, nil
}

func idle(ctx context.Context, s *settings, t *transport.Transport, _ conditions) (*record, error) {
	o, err := s.onLoopback(ctx, job.Spec{Transport: t.Name, Job: job.Idle, Count: s.idle, Settle: s.settle})
	if err != nil {
		return nil, err
	}
	return &record{Values: map[string]float64{
		"server KB":         float64(o.Server.Heap) / 1e3,
		"server goroutines": o.Server.Goroutines,
		"client KB":         float64(o.Client.Heap) / 1e3,
		"client goroutines": o.Client.Goroutines,
		"per s":             float64(o.Client.Messages) / o.Client.Seconds(),
	}}, nil
}
