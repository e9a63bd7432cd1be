// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

// Plot draws what went on over the link in a report of compare, for one job and loss:
//
//	go run ./cmd/compare --jobs link-voice,link-drop --transports runnel,quic-go,tls --out runs.json
//	go run ./plot --in runs.json --out ../docs/img
//
// makes ../docs/img/link-rate.png, how much the link carried, link-queue.png, how long packets waited in its buffer, and
// link-voice.png, how long voice took, over time and for each transport. Jobs without voice have no third picture.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A report is what this program needs of a report of compare.
type report struct {
	Link    string
	Records []record
}

type record struct {
	Job       string
	Transport string
	Run       int
	Loss      float64
	Series    *series
}

type series struct{ Rate, Wait, Voice []point }

type point [2]float64

// A choice says which records are drawn.
type choice struct {
	job        string
	percent    float64 // loss
	run        int
	only       []string // names of pictures; all if empty
	transports []string // all if empty; the order in which they are named otherwise
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "plot:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	var c choice
	fs := flag.NewFlagSet("plot", flag.ContinueOnError)
	in := fs.String("in", "", "report of compare, in JSON")
	out := fs.String("out", ".", "directory for the pictures")
	only := fs.String("only", "", "pictures to draw, by comma: rate, queue, voice; all if empty")
	prefix := fs.String("prefix", "link", "what the names of the pictures begin with")
	fs.StringVar(&c.job, "job", "link-voice", "job to show")
	fs.Float64Var(&c.percent, "loss", 0, "loss to show, percent")
	transports := fs.String("transports", "", "transports to show, by comma; all if empty")
	fs.IntVar(&c.run, "run", 1, "run to show")
	if err := fs.Parse(args); err != nil {
		return err
	}
	comma := func(r rune) bool { return r == ',' }
	c.transports, c.only = strings.FieldsFunc(*transports, comma), strings.FieldsFunc(*only, comma)
	b, err := os.ReadFile(*in)
	if err != nil {
		return err
	}
	var rep report
	if err := json.Unmarshal(b, &rep); err != nil {
		return fmt.Errorf("%s: %w", *in, err)
	}
	if err := os.MkdirAll(*out, 0o755); err != nil {
		return err
	}
	pictures := rep.pictures(c)
	if len(pictures) == 0 {
		return fmt.Errorf("%s: no such time series of %s at %g %% loss in run %d", *in, c.job, c.percent, c.run)
	}
	for _, p := range pictures {
		name := filepath.Join(*out, *prefix+"-"+p.name+".png")
		if err := p.draw(name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		fmt.Fprintln(os.Stdout, name)
	}
	return nil
}

// A picture is one figure over time.
type picture struct {
	name, title, label string
	dots               bool // each point for itself
	lines              []line
}

type line struct {
	transport string
	points    []point
}

// doing says what the jobs do, in the titles.
var doing = map[string]string{
	"link-bulk":  "bulk",
	"link-voice": "bulk and voice",
	"link-drop":  "bulk, the link at a quarter from 10 to 20 s",
}

// pictures sorts the records that were chosen into pictures.
func (r *report) pictures(c choice) (pictures []*picture) {
	what := doing[c.job]
	if what == "" {
		what = c.job
	}
	what += " over " + r.Link
	if c.percent > 0 {
		what += fmt.Sprintf(", %g %% loss", c.percent)
	}
	for _, p := range []struct {
		picture
		points func(*series) []point
	}{
		{picture{name: "rate", title: "What the link carries: " + what, label: "rate, Mbit/s"}, func(s *series) []point { return s.Rate }},
		{picture{name: "queue", title: "Wait in the link's buffer: " + what, label: "queueing delay, ms"}, func(s *series) []point { return s.Wait }},
		{picture{name: "voice", title: "Voice, one way: " + what, label: "latency, ms", dots: true}, func(s *series) []point { return s.Voice }},
	} {
		for _, rec := range r.chosen(c) {
			if points := p.points(rec.Series); len(points) > 0 {
				p.lines = append(p.lines, line{rec.Transport, points})
			}
		}
		if len(p.lines) > 0 && (len(c.only) == 0 || slices.Contains(c.only, p.name)) {
			pictures = append(pictures, &p.picture)
		}
	}
	return pictures
}

// chosen returns the records to draw, in the order of the transports.
func (r *report) chosen(c choice) (recs []record) {
	for _, rec := range r.Records {
		if rec.Series == nil || rec.Job != c.job || rec.Run != c.run-1 || math.Abs(rec.Loss*100-c.percent) > 1e-9 ||
			len(c.transports) > 0 && !slices.Contains(c.transports, rec.Transport) {
			continue
		}
		recs = append(recs, rec)
	}
	if len(c.transports) > 0 {
		slices.SortStableFunc(recs, func(a, b record) int {
			return slices.Index(c.transports, a.Transport) - slices.Index(c.transports, b.Transport)
		})
	}
	return recs
}
