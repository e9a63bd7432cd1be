// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"path"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed-98f0d4c2/runnel/bench/figures"
	"github.com/seed-98f0d4c2/runnel/bench/link"
	"github.com/seed-98f0d4c2/runnel/bench/transport"
)

// A record is one run of one job over one transport.
type record struct {
	Job       string
	Transport string
	Run       int
	Loss      float64 // of the link
	Values    map[string]float64
	Series    *series `json:",omitempty"`
}

// A report collects records.
type report struct {
	Runs        string // how many and how long
	Environment []string
	Link        string // rate, delay and buffer
	Transports  []string
	Records     []*record
	Notes       []string

	set *settings
}

func newReport(s *settings) *report {
	r := &report{set: s}
	for _, t := range s.transports {
		r.Transports = append(r.Transports, t.Name)
	}
	r.Link = fmt.Sprintf("%g Mbit/s, %d ms one way, a buffer of %d ms", linkRate/1e6, linkDelay.Milliseconds(), int(float64(linkQueue)*8/linkRate*1000))
	r.Environment = environment()
	r.Runs = fmt.Sprintf("%d runs of %v each on loopback and %v over the link", s.runs, s.duration, s.linkDuration)
	if s.runs == 1 {
		r.Runs = fmt.Sprintf("one run of %v on loopback and %v over the link", s.duration, s.linkDuration)
	}
	return r
}

func (r *report) note(format string, args ...any) {
	n := fmt.Sprintf(format, args...)
	if !slices.Contains(r.Notes, n) {
		r.Notes = append(r.Notes, n)
	}
}

var formats = map[string]func(*report, io.Writer) error{
	".md": (*report).markdown, ".json": (*report).json, ".csv": (*report).csv,
}

func extension(name string) string { return path.Ext(name) }

// json writes everything. Infinity, which JSON does not know, is written as the largest number there is.
func (r *report) json(w io.Writer) error {
	c := *r
	c.Records = nil
	for _, rec := range r.Records {
		d := *rec
		d.Values = map[string]float64{}
		for k, v := range rec.Values {
			switch {
			case math.IsInf(v, 1):
				v = math.MaxFloat64
			case math.IsNaN(v):
				continue
			}
			d.Values[k] = v
		}
		c.Records = append(c.Records, &d)
	}
	return json.NewEncoder(w).Encode(c)
}

// csv writes a line for each figure of each run.
func (r *report) csv(w io.Writer) error {
	c := csv.NewWriter(w)
	_ = c.Write([]string{"job", "transport", "loss", "run", "figure", "value"}) // Flush keeps the error
	for _, rec := range r.Records {
		for _, k := range slices.Sorted(maps.Keys(rec.Values)) {
			_ = c.Write([]string{
				rec.Job, rec.Transport, strconv.FormatFloat(rec.Loss, 'g', -1, 64), strconv.Itoa(rec.Run), k,
				strconv.FormatFloat(rec.Values[k], 'g', 6, 64),
			})
		}
	}
	c.Flush()
	return c.Error()
}

// values returns a figure's values, run by run.
func (r *report) values(job string, loss float64, name, key string) (v []float64) {
	for _, rec := range r.Records {
		if x, ok := rec.Values[key]; ok && rec.Job == job && rec.Loss == loss && rec.Transport == name {
			v = append(v, x)
		}
	}
	return v
}

// worst returns the greatest value of a figure in any record.
func (r *report) worst(key string) (w float64) {
	for _, rec := range r.Records {
		w = max(w, rec.Values[key])
	}
	return w
}

// A row of the table.
type row struct {
	label string
	job   string
	loss  float64
	keys  []string // shown with a slash between them
	scale float64
	ratio bool // of the first key to quic-go and to the raw limit
}

func (r *report) rows() []row {
	rows := []row{
		{"bulk, MB/s", "bulk", 0, []string{"MB/s"}, 1, true},
		{"bulk, CPU s/GB, sender / receiver", "bulk", 0, []string{"send CPU s/GB", "receive CPU s/GB"}, 1, false},
		{"bulk, CPU s/GB, both", "bulk", 0, []string{"CPU s/GB"}, 1, true},
		{"bulk, greatest memory, MB, sender / receiver", "bulk", 0, []string{"send max RSS MB", "recv max RSS MB"}, 1, false},
		{"messages of 64 B, 1000/s", "msg64", 0, []string{"per s"}, 1e-3, true},
		{"of them, CPU µs for each, both", "msg64", 0, []string{"CPU µs"}, 1, true},
		{"of them lost, %", "msg64", 0, []string{"lost %"}, 1, false},
		{"messages of 1 KiB, 1000/s", "msg1k", 0, []string{"per s"}, 1e-3, true},
		{"of them, CPU µs for each, both", "msg1k", 0, []string{"CPU µs"}, 1, true},
		{"of them lost, %", "msg1k", 0, []string{"lost %"}, 1, false},
		{"messages of 1 MiB, 1/s", "msg1m", 0, []string{"per s"}, 1, true},
		{"of them, CPU ms for each, both", "msg1m", 0, []string{"CPU µs"}, 1e-3, true},
		{"messages of 64 B behind a buffer, 1000/s", "msg64-buf", 0, []string{"per s"}, 1e-3, true},
		{"of them, CPU µs for each, both", "msg64-buf", 0, []string{"CPU µs"}, 1, true},
		{"messages of 1 KiB behind a buffer, 1000/s", "msg1k-buf", 0, []string{"per s"}, 1e-3, true},
		{"of them, CPU µs for each, both", "msg1k-buf", 0, []string{"CPU µs"}, 1, true},
		{"64 B there and back, p50 / p99, µs", "ping", 0, []string{"p50 µs", "p99 µs"}, 1, true},
		{"idle session, KB, server / client", "idle", 0, []string{"server KB", "client KB"}, 1, false},
		{"idle session, goroutines, server / client", "idle", 0, []string{"server goroutines", "client goroutines"}, 1, false},
	}
	for _, loss := range r.set.losses {
		rows = append(rows, row{
			fmt.Sprintf("link, %g %% loss: bulk, %% of link", loss*100), "link-bulk", loss, []string{"% of link"}, 1, true,
		})
	}
	for _, loss := range r.set.losses {
		at := fmt.Sprintf("link, %g %% loss, with voice: ", loss*100)
		rows = append(
			rows,
			row{at + "bulk, % of link", "link-voice", loss, []string{"% of link"}, 1, true},
			row{at + "voice one way, p50 / p99, ms", "link-voice", loss, []string{"voice p50 ms", "voice p99 ms"}, 1, false},
			row{at + "voice late or lost, %", "link-voice", loss, []string{"late or lost %"}, 1, false},
		)
	}
	return append(
		rows,
		row{"link: share ÷ that of CUBIC TCP, started first / second", "link-fair", 0, []string{"÷ TCP, first", "÷ TCP, second"}, 1, false},
		row{"link: two of a kind, Jain's index", "link-self", 0, []string{"Jain"}, 1, false},
		row{"link falls to a quarter: p95 wait 1–2 s later / until the end, ms", "link-drop", 0, []string{"p95 wait ms, 1–2 s after the drop", "p95 wait ms, 1 s after the drop to 10"}, 1, false},
		row{"link comes back: to 90 % of it, s", "link-drop", 0, []string{"s to 90 % after the return"}, 1, false},
	)
}

// reference are the transports that ratios are taken to.
const (
	ours     = "runnel"
	rival    = "quic-go"
	rawLimit = "udp-gso"
)

// markdown writes the table and what is needed to read it.
func (r *report) markdown(w io.Writer) error {
	var b strings.Builder
	ratios := slices.Contains(r.Transports, ours)
	head, rule := "| |", "|---|"
	for _, name := range r.Transports {
		head, rule = head+" "+name+" |", rule+"---|"
	}
	if ratios {
		head, rule = head+" "+ours+" ÷ "+rival+" | "+ours+" ÷ "+rawLimit+" |", rule+"---|---|"
	}
	fmt.Fprintf(&b, "%s\n%s\n", head, rule)
	noisy := 0.0
	for _, row := range r.rows() {
		line, some := "| "+row.label+" |", false
		for _, name := range r.Transports {
			cell, spread := r.cell(row, name)
			noisy = max(noisy, spread)
			some = some || cell != ""
			line += " " + cell + " |"
		}
		if ratios {
			line += " " + r.ratio(row, rival) + " | " + r.ratio(row, rawLimit) + " |"
		}
		if some {
			fmt.Fprintln(&b, line)
		}
	}
	fmt.Fprintf(&b, "\nMedians of %s.", r.Runs)
	if noisy > 0 {
		fmt.Fprintf(&b, " The figure that differed most between runs differed by %.0f %%.", noisy*100)
	}
	fmt.Fprintf(&b, "\n%s.\n", strings.Join(r.Environment, "; "))
	if slices.ContainsFunc(r.set.jobs, func(m *measurement) bool { return m.link }) {
		where := "both directions"
		if r.set.dataLossOnly {
			where = "the direction of the data"
		}
		fmt.Fprintf(&b, "The link: %s, drop-tail, MTU 1500; losses are random, in %s.\n", r.Link, where)
		if late := r.worst(latePercent); late > 0.5 {
			fmt.Fprintf(&b, "**The machine was too busy for the link**: in the worst run %.1f %% of the packets left it more than %v late.\n",
				late, link.Tolerance)
		}
	}
	fmt.Fprintln(&b)
	for _, t := range r.set.transports {
		version := ""
		if v := moduleVersion(t.Module); v != "" {
			version = " " + v
		}
		fmt.Fprintf(&b, "* %s%s: %s.\n", t.Name, version, t.About)
	}
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "* %s\n", n)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// cell returns the medians of a row's figures and how far apart the runs of the first were.
func (r *report) cell(row row, name string) (cell string, spread float64) {
	var parts []string
	for i, key := range row.keys {
		v := r.values(row.job, row.loss, name, key)
		if len(v) == 0 {
			return "", 0
		}
		if m := figures.Median(v); math.IsInf(m, 1) {
			parts = append(parts, "∞")
		} else {
			parts = append(parts, number(m*row.scale))
			if s := figures.Spread(v); i == 0 && m > 0 && row.ratio && !math.IsNaN(s) {
				spread = s
			}
		}
	}
	return strings.Join(parts, " / "), spread
}

// ratio returns our first figure of a row divided by another's.
func (r *report) ratio(row row, to string) string {
	a, b := r.values(row.job, row.loss, ours, row.keys[0]), r.values(row.job, row.loss, to, row.keys[0])
	if !row.ratio || len(a) == 0 || len(b) == 0 {
		return ""
	}
	return number(figures.Median(a) / figures.Median(b))
}

// number writes three digits that count.
func number(x float64) string {
	switch a := math.Abs(x); {
	case math.IsNaN(x):
		return "–"
	case a >= 100:
		return strconv.FormatFloat(x, 'f', 0, 64)
	case a >= 10:
		return strconv.FormatFloat(x, 'f', 1, 64)
	}
	return strconv.FormatFloat(x, 'f', 2, 64)
}

// environment says where the figures come from.
func environment() []string {
	env := []string{
		time.Now().Format("2 January 2006"),
		fmt.Sprintf("%s %s/%s, %d processors", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU()),
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		env = append(env, "Linux "+unix.ByteSliceToString(u.Release[:]))
	}
	return env
}

// moduleVersion returns the version of a module in this program.
func moduleVersion(module string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok || module == "" || module == transport.Ours {
		return ""
	}
	for _, d := range info.Deps {
		if d.Path == module {
			return d.Version
		}
	}
	return ""
}
