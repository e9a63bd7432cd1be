// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"image/color"
	"os"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
)

// Colours that people with any kind of sight tell apart (Okabe and Ito).
var colours = []color.Color{
	color.RGBA{0x00, 0x72, 0xb2, 0xff},
	color.RGBA{0xd5, 0x5e, 0x00, 0xff},
	color.RGBA{0x00, 0x9e, 0x73, 0xff},
	color.RGBA{0xcc, 0x79, 0xa7, 0xff},
	color.RGBA{0xe6, 0x9f, 0x00, 0xff},
	color.RGBA{0x56, 0xb4, 0xe9, 0xff},
	color.RGBA{0x00, 0x00, 0x00, 0xff},
}

// A panel is one of the plots that stand above one another over the same time.
type panel struct {
	label  string
	points func(*series) []point
}

var panels = []panel{
	{"link carries, Mbit/s", func(s *series) []point { return s.Rate }},
	{"waits in the buffer, ms", func(s *series) []point { return s.Wait }},
	{"voice one way, ms", func(s *series) []point { return s.Voice }},
}

// draw writes the picture as a PNG.
func (p *picture) draw(name string) error {
	var plots [][]*plot.Plot
	for _, pan := range panels {
		if !slices.ContainsFunc(p.lines, func(l line) bool { return len(pan.points(l.series)) > 0 }) {
			continue
		}
		pl := plot.New()
		pl.Y.Label.Text = pan.label
		pl.Y.Min = 0
		pl.Legend.Top = true
		if len(plots) == 0 {
			pl.Title.Text = p.title
		}
		pl.Add(plotter.NewGrid())
		for i, l := range p.lines {
			ln, err := plotter.NewLine(curve(pan.points(l.series)))
			if err != nil {
				return err
			}
			ln.Color = colours[i%len(colours)]
			ln.Width = vg.Points(1)
			pl.Add(ln)
			if len(plots) == 0 {
				pl.Legend.Add(l.transport, ln)
			}
		}
		plots = append(plots, []*plot.Plot{pl})
	}
	plots[len(plots)-1][0].X.Label.Text = "s"
	last := 0.0
	for _, row := range plots {
		last = max(last, row[0].X.Max)
	}
	for _, row := range plots {
		row[0].X.Min, row[0].X.Max = 0, last
	}
	img := vgimg.NewWith(vgimg.UseWH(20*vg.Centimeter, vg.Length(len(plots))*6*vg.Centimeter), vgimg.UseDPI(96))
	tiles := draw.Tiles{Rows: len(plots), Cols: 1, PadY: vg.Millimeter * 3, PadRight: vg.Millimeter * 5}
	for i, row := range plot.Align(plots, tiles, draw.New(img)) {
		plots[i][0].Draw(row[0])
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	if _, err := (vgimg.PngCanvas{Canvas: img}).WriteTo(f); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}

// curve leaves out what did not come.
func curve(points []point) plotter.XYs {
	xy := plotter.XYs{}
	for _, p := range points {
		if p[1] >= 0 {
			xy = append(xy, plotter.XY{X: p[0], Y: p[1]})
		}
	}
	return xy
}
