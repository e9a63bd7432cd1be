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

// TestPictures draws a small report and expects a picture for each job and loss, of the transports asked for.
func TestPictures(t *testing.T) {
	s := &series{
		Rate: []point{{0, 1}, {0.1, 20}}, Wait: []point{{0, 5}, {0.05, 100}}, Voice: []point{{1, 20}, {1.02, -1}, {1.04, 30}},
	}
	rep := report{Records: []record{
		{Job: "bulk", Transport: "runnel"},
		{Job: "link-voice", Transport: "runnel", Series: s},
		{Job: "link-voice", Transport: "quic-go", Series: s},
		{Job: "link-voice", Transport: "tls", Series: s},
		{Job: "link-voice", Transport: "runnel", Run: 1, Series: s},
		{Job: "link-drop", Transport: "runnel", Series: &series{Rate: s.Rate, Wait: s.Wait}},
		{Job: "link-voice", Transport: "runnel", Loss: 0.05, Series: s},
	}}
	pictures := group(rep, 0, []string{"runnel", "quic-go"})
	if len(pictures) != 3 || len(pictures[0].lines) != 2 {
		t.Fatalf("%d pictures, want 3, the first with two lines", len(pictures))
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
	if err := run([]string{"--in", in, "--out", dir}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"link-voice-0.png", "link-drop-0.png", "link-voice-5.png"} {
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
	if n := len(curve(s.Voice)); n != 2 {
		t.Errorf("%d points of voice are drawn, want 2: one never came", n)
	}
}
