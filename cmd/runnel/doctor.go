// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/program"
	"github.com/seed-98f0d4c2/runnel/signaling"
)

type doctorCmd struct {
	network
	JSON bool `name:"json" help:"Print the results as JSON."`
}

// A verdict says how serious a finding is.
type verdict string

const (
	ok   verdict = "ok"
	note verdict = "note" // nothing is wrong, or it cannot be told
	warn verdict = "warn" // sessions work, but less well than they could
	fail verdict = "fail"
)

// A finding is what a check has come to. The names of checks and of the fields are stable.
type finding struct {
	Check   string  `json:"check"`
	Verdict verdict `json:"verdict"`
	Text    string  `json:"text"`
	Remedy  string  `json:"remedy,omitempty"`
}

// A report is all of them.
type report struct {
	Verdict  verdict   `json:"verdict"` // the worst of all
	Findings []finding `json:"findings"`
}

func (r *report) add(f ...finding) { r.Findings = append(r.Findings, f...) }

// A doctor examines this host's network.
type doctor struct {
	flags *doctorCmd
	log   *slog.Logger

	services signaling.Services // what to examine
	seen     outside            // what STUN servers see
}

// examineTime bounds an examination; each check has a limit of its own.
const examineTime = 40 * time.Second

// Run examines this host's network and prints what it finds.
func (c *doctorCmd) Run(ctx context.Context, out *console) error {
	ctx, cancel := context.WithTimeout(ctx, examineTime)
	defer cancel()
	d := &doctor{flags: c, log: c.log(out.stderr)}
	r := d.examine(ctx)
	if err := r.print(out.stdout, c.JSON); err != nil {
		return err
	}
	switch r.Verdict {
	case fail:
		return exitError(program.ExitRuntime)
	case warn:
		return exitError(exitWarn)
	}
	return nil
}

// examine makes all checks, those that do not need one another at one time.
func (d *doctor) examine(ctx context.Context) *report {
	var r report
	r.add(d.host()...)
	r.add(d.rendezvous(ctx)...)
	d.services.STUN = append(d.services.STUN, d.flags.STUN...)
	d.services.Relays = append(d.services.Relays, d.flags.relays()...)
	checks := []func(context.Context) []finding{d.stun, d.relays, d.portMapping, d.multicast}
	found := make([][]finding, len(checks))
	var all sync.WaitGroup
	for i, check := range checks {
		all.Go(func() { found[i] = check(ctx) })
	}
	all.Wait()
	for _, f := range found {
		r.add(f...)
	}
	r.add(d.filtering(ctx)...)
	r.Verdict = r.judge()
	return &r
}

// judge returns the worst verdict. A hard NAT does not matter when its router forwards a port.
func (r *report) judge() verdict {
	mapped := slices.ContainsFunc(r.Findings, func(f finding) bool { return f.Check == "port mapping" && f.Verdict == ok })
	for i := range r.Findings {
		if f := &r.Findings[i]; mapped && f.Check == "nat" && f.Verdict == warn {
			f.Verdict, f.Remedy = note, ""
			f.Text += ", which does not matter: the router forwards a port"
		}
	}
	rank := map[verdict]int{ok: 0, note: 0, warn: 1, fail: 2}
	worst := ok
	for _, f := range r.Findings {
		if rank[f.Verdict] > rank[worst] {
			worst = f.Verdict
		}
	}
	return worst
}

func (r *report) print(w io.Writer, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	}
	for _, f := range r.Findings {
		fmt.Fprintf(w, "%-5s %-12s %s\n", f.Verdict, f.Check, f.Text)
		if f.Remedy != "" {
			fmt.Fprintf(w, "      %-12s → %s\n", "", f.Remedy)
		}
	}
	_, err := fmt.Fprintf(w, "%s\n", r.Verdict)
	return err
}
