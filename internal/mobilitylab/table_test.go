// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mobilitylab

import (
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	runs  = flag.Int("runs", 0, "seeds for each case and role; zero is a few, for tests")
	first = flag.Uint64("seed", 0, "the first seed")
	table = flag.String("table", "", "write the figures as Markdown to this file")
)

// seeds is how many seeds a test uses: few, unless -runs says otherwise.
func seeds(few int) int {
	switch {
	case *runs > 0:
		return *runs
	case testing.Short():
		return 1
	}
	return few
}

// report collects the rows of the tables.
var report struct {
	mu   sync.Mutex
	rows map[string][]row
}

type row struct {
	at   int
	text string
}

// A section is one table.
var sections = []struct{ name, head string }{
	{"Moves", "| what happens | bound | p50 | p99 | most |\n|---|---|---|---|---|"},
	{"NATs", "| | direct within | direct | p50 | p95 | first message p50 | p95 |\n|---|---|---|---|---|---|---|"},
	{"Others", "| what | bound | measured |\n|---|---|---|"},
}

// add adds a row to a table, before those with a higher at.
func add(section string, at int, cells ...string) {
	report.mu.Lock()
	defer report.mu.Unlock()
	if report.rows == nil {
		report.rows = make(map[string][]row)
	}
	report.rows[section] = append(report.rows[section], row{at, "| " + strings.Join(cells, " | ") + " |"})
}

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	if *table != "" {
		f, err := os.Create(*table)
		if err == nil {
			writeTables(f)
			err = f.Close()
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

func writeTables(w io.Writer) {
	for _, s := range sections {
		rows := report.rows[s.name]
		if len(rows) == 0 {
			continue
		}
		slices.SortStableFunc(rows, func(a, b row) int { return a.at - b.at })
		fmt.Fprintf(w, "\n### %s\n\n%s\n", s.name, s.head)
		for _, r := range rows {
			fmt.Fprintln(w, r.text)
		}
	}
}

// quantile returns the value that the part q of the sorted ones does not exceed.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	i := int(q*float64(len(sorted))+0.9999) - 1
	return sorted[max(0, min(i, len(sorted)-1))]
}

// show writes a duration in milliseconds, or in seconds if it is long.
func show(d time.Duration) string {
	if d >= 10*time.Second {
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return fmt.Sprintf("%d ms", d.Round(ms).Milliseconds())
}
