// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

// Compare runs the same jobs over Runnel and over the transports that Go programs use otherwise, in two processes on this
// machine, and prints one table:
//
//	go run ./cmd/compare                                  # everything; some 45 minutes
//	go run ./cmd/compare --quick                          # a look at each, less than a minute; figures mean nothing
//	go run ./cmd/compare --jobs bulk,ping --transports runnel,quic-go,udp-gso --out new.json,new.csv
//	go run ./cmd/compare selftest                         # whether the emulated link is what it says
//
// Jobs whose names begin with "link" run over an emulated link, which takes root on Linux; without, they are left out.
// What each job does is in jobs.go, what was chosen for each transport is printed under the table.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"github.com/seed-98f0d4c2/runnel/bench/job"
	"github.com/seed-98f0d4c2/runnel/bench/transport"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == job.ChildArg {
		if job.Main(os.Stdin, os.Stdout) != nil {
			os.Exit(1) // the parent has been told
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

// settings are the flags.
type settings struct {
	jobs         []*measurement
	transports   []*transport.Transport
	runs         int
	duration     time.Duration
	linkDuration time.Duration
	idle         int
	settle       time.Duration
	losses       []float64
	dataLossOnly bool
	seed         uint64
	quick        bool
	eventLog     string
	out          []string
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) > 0 && args[0] == "selftest" {
		return selftest(stdout)
	}
	set, err := parse(args, stderr)
	if err != nil {
		return err
	}
	for _, name := range set.out {
		if _, ok := formats[extension(name)]; !ok {
			return fmt.Errorf("--out %s: want a name that ends in .md, .json or .csv", name)
		}
	}
	rep := newReport(set)
	err = set.measure(ctx, rep, stderr)
	for _, name := range set.out {
		var b strings.Builder
		if e := formats[extension(name)](rep, &b); e != nil {
			return errors.Join(err, e)
		}
		if e := os.WriteFile(name, []byte(b.String()), 0o644); e != nil {
			return errors.Join(err, e)
		}
	}
	return errors.Join(err, rep.markdown(stdout))
}

func parse(args []string, stderr io.Writer) (*settings, error) {
	var set settings
	var names, variants []string
	for _, t := range transport.All() {
		names = append(names, t.Name)
		if t.Variant != "" {
			variants = append(variants, t.Name)
		}
	}
	fs := flag.NewFlagSet("compare", flag.ContinueOnError)
	fs.SetOutput(stderr)
	jobs := fs.String("jobs", "", "jobs, by comma; all if empty: "+strings.Join(jobNames(), ","))
	transports := fs.String("transports", "", "transports, by comma: "+strings.Join(names, ",")+"; if empty, all but "+strings.Join(variants, ","))
	out := fs.String("out", "", "files to write as well, by comma; .json has the time series, .csv every run, .md the table")
	losses := fs.String("loss", "0,1,5", "losses of the link to measure with, percent, by comma")
	fs.BoolVar(&set.dataLossOnly, "data-loss-only", false, "lose only in the direction of the data, not acknowledgements")
	fs.IntVar(&set.runs, "runs", 3, "runs, of which the median is reported")
	fs.DurationVar(&set.duration, "duration", 5*time.Second, "of a run on loopback")
	fs.DurationVar(&set.linkDuration, "link-duration", 15*time.Second, "of a run over the link")
	fs.IntVar(&set.idle, "idle", 1000, "sessions of the idle job")
	fs.DurationVar(&set.settle, "settle", 12*time.Second, "before idle sessions are weighed")
	fs.Uint64Var(&set.seed, "seed", 1, "of the link's losses; each run adds one")
	fs.StringVar(&set.eventLog, "event-log", "", "directory for event logs of Runnel's sessions, which cost time; none if empty")
	fs.BoolVar(&set.quick, "quick", false, "one short run of everything that is quick")
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	if fs.NArg() > 0 {
		return nil, fmt.Errorf("what is %q? The only subcommand is selftest", fs.Arg(0))
	}
	if set.quick {
		given := map[string]bool{}
		fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
		for name, value := range quick {
			if !given[name] {
				if err := fs.Set(name, value); err != nil {
					return nil, err
				}
			}
		}
	}
	if set.eventLog != "" {
		if err := os.MkdirAll(set.eventLog, 0o755); err != nil {
			return nil, err
		}
	}
	for name := range fields(*out) {
		set.out = append(set.out, name)
	}
	for name := range fields(*losses) {
		var p float64
		if _, err := fmt.Sscanf(name, "%g", &p); err != nil || p < 0 || p >= 100 || math.IsNaN(p) {
			return nil, fmt.Errorf("--loss %s: want percentages below 100", *losses)
		}
		set.losses = append(set.losses, p/100)
	}
	wanted := slices.Collect(fields(*jobs))
	for _, m := range measurements {
		if len(wanted) == 0 || slices.Contains(wanted, m.name) {
			set.jobs = append(set.jobs, m)
		}
	}
	for _, name := range wanted {
		if !slices.Contains(jobNames(), name) {
			return nil, fmt.Errorf("no job %q: there are %s", name, strings.Join(jobNames(), ", "))
		}
	}
	chosen := slices.Collect(fields(*transports))
	for _, name := range chosen {
		if !slices.Contains(names, name) {
			return nil, fmt.Errorf("no transport %q: there are %s", name, strings.Join(names, ", "))
		}
	}
	for _, t := range transport.All() {
		if len(chosen) == 0 && t.Variant == "" || slices.Contains(chosen, t.Name) {
			set.transports = append(set.transports, t)
		}
	}
	return &set, nil
}

// quick are the settings of --quick, where nothing else is said.
var quick = map[string]string{
	"runs": "1", "duration": "300ms", "link-duration": "3.5s", "idle": "20", "settle": "500ms", "loss": "1",
	"jobs": "bulk,msg64,msg1k,msg1m,msg64-buf,ping,idle,link-voice",
}

// fields are the parts of a list with commas, without empty ones.
func fields(s string) func(func(string) bool) {
	return strings.FieldsFuncSeq(s, func(r rune) bool { return r == ',' })
}
