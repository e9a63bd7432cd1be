// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

// Plot draws what went on over the link in a report of compare, one picture for each job and loss:
//
//	go run ./cmd/compare --jobs link-voice,link-drop --transports runnel,quic-go --out runs.json
//	go run ./plot --in runs.json --out ../docs/img
//
// makes ../docs/img/link-voice-0.png and so on: how much the link carried, how long packets waited in the link's buffer, and how
// late voice was, over time, a line for each transport. Of several runs it shows the first.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A report is what this program needs of a report of compare.
type report struct {
	Transports []string
	Records    []record
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

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "plot:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	fs := flag.NewFlagSet("plot", flag.ContinueOnError)
	in := fs.String("in", "", "report of compare, in JSON")
	out := fs.String("out", ".", "directory for the pictures")
	transports := fs.String("transports", "", "transports to show, by comma; all if empty")
	n := fs.Int("run", 1, "run to show")
	if err := fs.Parse(args); err != nil {
		return err
	}
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
	pictures := group(rep, *n-1, strings.FieldsFunc(*transports, func(r rune) bool { return r == ',' }))
	if len(pictures) == 0 {
		return fmt.Errorf("%s: run %d has no time series: they come from jobs over the link", *in, *n)
	}
	for _, p := range pictures {
		name := filepath.Join(*out, p.name+".png")
		if err := p.draw(name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		fmt.Fprintln(os.Stdout, name)
	}
	return nil
}

// A picture is what one job at one loss looked like.
type picture struct {
	name, title string
	lines       []line
}

type line struct {
	transport string
	*series
}

// group sorts one run's records into pictures, in their order.
func group(rep report, run int, transports []string) (pictures []*picture) {
	for _, rec := range rep.Records {
		if rec.Series == nil || rec.Run != run || len(transports) > 0 && !slices.Contains(transports, rec.Transport) {
			continue
		}
		name := rec.Job + "-" + strconv.FormatFloat(rec.Loss*100, 'g', -1, 64)
		i := slices.IndexFunc(pictures, func(p *picture) bool { return p.name == name })
		if i < 0 {
			i = len(pictures)
			pictures = append(pictures, &picture{
				name: name, title: fmt.Sprintf("%s, %g %% loss", rec.Job, rec.Loss*100),
			})
		}
		pictures[i].lines = append(pictures[i].lines, line{rec.Transport, rec.Series})
	}
	return pictures
}
