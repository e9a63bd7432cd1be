// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"image/png"
	"os"
	"path/filepath"
	"testing"
)

// TestPictures draws small reports and expects a picture for each figure, of the records chosen.
func TestPictures(t *testing.T) {
	s := &series{
		Rate: []point{{0, 1}, {0.1, 20}}, Wait: []point{{0, 5}, {0.05, 100}}, Voice: []point{{1, 20}, {1.02, -1}, {1.04, 30}},
	}
	rep := report{Link: "a link", Records: []record{
		{Job: "bulk", Transport: "runnel"},
		{Job: "link-voice", Transport: "runnel", Series: s},
		{Job: "link-voice", Transport: "quic-go", Series: s},
		{Job: "link-voice", Transport: "tls", Series: s},
		{Job: "link-voice", Transport: "runnel", Run: 1, Series: s},
		{Job: "link-drop", Transport: "runnel", Series: &series{Rate: s.Rate, Wait: s.Wait}},
		{Job: "link-voice", Transport: "runnel", Loss: 0.05, Series: s},
	}}
	pictures := rep.pictures(choice{job: "link-voice", run: 1, transports: []string{"tls", "runnel"}})
	if len(pictures) != 3 {
		t.Fatalf("%d pictures, want rate, queue and voice", len(pictures))
	}
	if l := pictures[0].lines; len(l) != 2 || l[0].transport != "tls" || l[1].transport != "runnel" {
		t.Errorf("lines are %v, want tls and runnel as they were asked for", l)
	}
	if n := len(rep.pictures(choice{job: "link-voice", percent: 1, run: 1})); n != 0 {
		t.Errorf("%d pictures of a loss that was not measured, want none", n)
	}
	if p := rep.pictures(choice{job: "link-voice", run: 1, only: []string{"queue"}}); len(p) != 1 || p[0].name != "queue" {
		t.Errorf("%d pictures, want that of the queue alone", len(p))
	}
	dir := t.TempDir()
	in := filepath.Join(dir, "in.json")
	b, err := json.Marshal(rep)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(in, b, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{}, {"--job", "link-drop", "--prefix", "drop"}} {
		if err := run(append([]string{"--in", in, "--out", dir}, args...)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"link-rate.png", "link-queue.png", "link-voice.png", "drop-rate.png", "drop-queue.png"} {
		f, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		img, err := png.Decode(f)
		f.Close()
		if err != nil || img.Bounds().Dx() < 500 {
			t.Errorf("%s: %v; want a picture at least 500 wide", name, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "drop-voice.png")); err == nil {
		t.Error("there is a picture of voice, of a job that has none")
	}
	if err := run([]string{"--in", in, "--out", dir, "--run", "7"}); err == nil {
		t.Error("run 7, which there is not: no error")
	}
	if n := len(curve(s.Voice)); n != 2 {
		t.Errorf("%d points of voice are drawn, want 2: one never came", n)
	}
}
