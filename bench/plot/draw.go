// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"math"
	"os"
	"slices"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/vgimg"
)

// Colours that people with any kind of sight tell apart (Okabe and Ito).
var colours = []color.RGBA{
	{0x00, 0x72, 0xb2, 0xff},
	{0xd5, 0x5e, 0x00, 0xff},
	{0x00, 0x9e, 0x73, 0xff},
	{0xcc, 0x79, 0xa7, 0xff},
	{0xe6, 0x9f, 0x00, 0xff},
	{0x56, 0xb4, 0xe9, 0xff},
	{0x00, 0x00, 0x00, 0xff},
}

var faint = color.RGBA{0xdd, 0xdd, 0xdd, 0xff}

// The size of a picture. Tall enough for the legend beside the curves, and small in bytes.
const (
	width  = 22 * vg.Centimeter
	height = 8 * vg.Centimeter
	dpi    = 110
)

// draw writes the picture as a PNG. The first transport is drawn last, over the others, and named first.
func (p *picture) draw(name string) error {
	pl := plot.New()
	pl.Title.Text = p.title
	pl.Title.TextStyle.Font.Size = vg.Points(11)
	pl.Title.Padding = vg.Points(6)
	pl.X.Label.Text = "time, s"
	pl.Y.Label.Text = p.label
	pl.X.Min, pl.Y.Min = 0, 0
	pl.X.Tick.Marker = plot.TickerFunc(seconds)
	pl.BackgroundColor = color.White
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = faint, faint
	pl.Add(grid)
	for i, l := range slices.Backward(p.lines) {
		c := colours[i%len(colours)]
		if p.dots {
			sc, err := plotter.NewScatter(curve(l.points))
			if err != nil {
				return err
			}
			sc.Color, sc.Radius, sc.Shape = c, vg.Points(1.2), discs{}
			pl.Add(sc)
		} else {
			ln, err := plotter.NewLine(curve(l.points))
			if err != nil {
				return err
			}
			ln.Color, ln.Width = c, vg.Points(1.4)
			pl.Add(ln)
		}
	}
	for i, l := range p.lines {
		pl.Legend.Add(l.transport, swatch{colours[i%len(colours)]})
	}
	pl.Legend.Top, pl.Legend.Left = true, true
	pl.Legend.Padding = vg.Points(2)
	pl.Legend.ThumbnailWidth = vg.Points(12)
	pl.Y.Max *= 1.02 // the highest point is not to be cut in half
	return write(pl, name)
}

// seconds puts a mark at every second, or fewer if that is too close, and a number at every other or so.
func seconds(least, most float64) (ticks []plot.Tick) {
	step := max(1, int((most-least)/20))
	for s := int(math.Ceil(least)); float64(s) <= most; s += step {
		t := plot.Tick{Value: float64(s)}
		if s/step%2 == 0 {
			t.Label = strconv.Itoa(s)
		}
		ticks = append(ticks, t)
	}
	return ticks
}

// write draws a plot in 256 colours at most, which makes the file a third as large and is all that a few lines need.
func write(pl *plot.Plot, name string) error {
	img := vgimg.NewWith(vgimg.UseWH(width, height), vgimg.UseDPI(dpi))
	legend(pl, img)
	full := img.Image()
	few := image.NewPaletted(full.Bounds(), palette())
	draw.Draw(few, few.Bounds(), full, image.Point{}, draw.Src)
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	enc := png.Encoder{CompressionLevel: png.BestCompression}
	if err := enc.Encode(f, few); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}

// palette has the greys, and the colours on their way to white, since edges are smooth.
func palette() (p color.Palette) {
	const greys, tints = 32, 28
	for i := range greys {
		g := uint8(i * 255 / (greys - 1))
		p = append(p, color.RGBA{g, g, g, 0xff})
	}
	for _, c := range colours {
		for i := range tints {
			towards := func(v uint8) uint8 { return v + uint8(int(255-v)*i/tints) }
			p = append(p, color.RGBA{towards(c.R), towards(c.G), towards(c.B), 0xff})
		}
	}
	return p
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
