// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/bench/job"
	"github.com/seed-98f0d4c2/runnel/bench/link"
)

func TestParse(t *testing.T) {
	set, err := parse([]string{"--quick", "--duration", "2s", "--jobs", "ping,bulk", "--transports", "tls,runnel"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if set.duration != 2*time.Second || set.runs != 1 {
		t.Errorf("duration %v, %d runs; want 2s as given and 1 as --quick says", set.duration, set.runs)
	}
	if len(set.jobs) != 2 || set.jobs[0].name != "bulk" || len(set.transports) != 2 || set.transports[0].Name != "runnel" {
		t.Error("jobs and transports are not those asked for, in the order of the report")
	}
	for _, args := range [][]string{{"--jobs", "smoke"}, {"--transports", "smoke"}, {"--loss", "101"}, {"smoke"}} {
		if _, err := parse(args, io.Discard); err == nil {
			t.Errorf("%v: no error", args)
		}
	}
	all, err := parse(nil, io.Discard)
	if err != nil || len(all.jobs) != len(measurements) || len(all.losses) != 3 || all.losses[2] != 0.05 {
		t.Errorf("without flags: %+v, %v; want every job, with losses of 0, 1 and 5 %%", all, err)
	}
	for _, tr := range all.transports {
		if tr.Variant != "" {
			t.Errorf("%s is run without being asked for", tr.Name)
		}
	}
	some, err := parse([]string{"--transports", "runnel-cubic", "--jobs", "link-fair,msg64-buf"}, io.Discard)
	if err != nil || len(some.transports) != 1 || !some.jobs[0].isFor(some.transports[0]) || !some.jobs[1].isFor(some.transports[0]) {
		t.Errorf("a variant asked for: %+v, %v; want it, with every job of what it is a variant of", some, err)
	}
}

func TestJudge(t *testing.T) {
	v := map[string]float64{}
	// Ten were sent: seven in time, one late, one lost on the way and one never heard of.
	judge(&job.Voice{Sent: 10, Lag: []float64{20, 21, 22, 23, 24, 25, 26, 151, -1}}, v)
	if v["late or lost %"] != 30 {
		t.Errorf("late or lost: %v %%, want 30", v["late or lost %"])
	}
	if v["voice p50 ms"] != 23 || v["voice p99 ms"] != 151 {
		t.Errorf("p50 %v, p99 %v; want 23 and 151, of those that came", v["voice p50 ms"], v["voice p99 ms"])
	}
}

func TestBetween(t *testing.T) {
	r := &job.Result{Start: time.Second, Series: []uint64{1, 2, 4, 8}}
	if got := between(r, time.Second+job.Step, time.Second+3*job.Step); got != 6 {
		t.Errorf("%v bytes in the second and third steps, want 6", got)
	}
}

// full returns the packets of a link that is full from one time to another.
func full(from, to time.Duration) (s []link.Sample) {
	for at := from; at < to; at += 600 * time.Microsecond {
		s = append(s, link.Sample{At: at, Size: 1500, Wait: 7 * time.Millisecond})
	}
	return s
}

func TestRecovery(t *testing.T) {
	s := append(full(0, time.Second), full(3*time.Second, 10*time.Second)...)
	got := recovery(s, 2*time.Second, 10*time.Second)
	if got < 0.9 || got > 1 { // a half second that is 90 % full begins 50 ms before the full ones
		t.Errorf("recovered after %v s, want 0.95", got)
	}
	if got := recovery(s, 9800*time.Millisecond, 10*time.Second); !math.IsInf(got, 1) {
		t.Errorf("recovered after %v s, want never: there was no half second left", got)
	}
	if got := recovery(s, 5*time.Second, 10*time.Second); got > 0.01 {
		t.Errorf("recovered after %v s, want at once", got)
	}
}

func TestWaits(t *testing.T) {
	s := full(0, time.Second)
	s = append(s, link.Sample{At: 2 * time.Second, Size: 1500, Wait: time.Second})
	if got := waits(s, 0, time.Second, 95); got != 7 {
		t.Errorf("p95 %v ms, want 7: what came later does not count", got)
	}
}

// TestReport expects medians, ratios, infinities and gaps where they belong, in all formats.
func TestReport(t *testing.T) {
	set, err := parse([]string{"--transports", "runnel,quic-go,udp-gso"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	rep := newReport(set)
	for run, v := range []float64{100, 300, 200} {
		rep.Records = append(
			rep.Records,
			&record{Job: "bulk", Transport: "runnel", Run: run, Values: map[string]float64{"MB/s": v}},
			&record{Job: "bulk", Transport: "quic-go", Run: run, Values: map[string]float64{"MB/s": 2 * v}},
		)
	}
	rep.Records = append(rep.Records, &record{
		Job: "link-drop", Transport: "runnel", Values: map[string]float64{"s to 90 % after the return": math.Inf(1)},
		Series: &series{Rate: []point{{0, 1}}},
	})
	rep.note("a remark")
	rep.note("a remark")
	var b strings.Builder
	if err := rep.markdown(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| bulk, MB/s | 200 | 400 |  | 0.50 |  |\n",
		"| link comes back: to 90 % of it, s | ∞ |  |  |",
		"differed by 100 %",
		"* a remark\n",
	} {
		if strings.Count(b.String(), want) != 1 {
			t.Errorf("the table has not exactly one %q:\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "voice one way") {
		t.Error("the table has a line for what was not measured")
	}
	b.Reset()
	if err := rep.json(&b); err != nil {
		t.Fatal(err)
	}
	var back report
	if err := json.Unmarshal([]byte(b.String()), &back); err != nil {
		t.Fatal(err)
	}
	if len(back.Records) != 7 || back.Records[6].Series == nil {
		t.Errorf("%d records came back, want 7, the last with a series", len(back.Records))
	}
	b.Reset()
	if err := rep.csv(&b); err != nil {
		t.Fatal(err)
	}
	if want := "bulk,runnel,0,1,MB/s,300\n"; !strings.Contains(b.String(), want) {
		t.Errorf("no line %q in\n%s", want, b.String())
	}
}
