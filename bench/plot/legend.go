// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"image/color"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
)

// legend draws the plot with its legend beside it on the right, where it hides nothing.
func legend(pl *plot.Plot, img *vgimg.Canvas) {
	all := draw.New(img)
	names := pl.Legend
	pl.Legend = plot.NewLegend()
	pl.Legend.Top = true
	size := names.Rectangle(all).Size().X + vg.Points(14)
	names.XOffs, names.YOffs = all.Size().X-size+vg.Points(8), -vg.Points(28) // below the title
	pl.Draw(draw.Crop(all, vg.Points(4), -size, vg.Points(4), -vg.Points(4)))
	names.Draw(all)
}

// A swatch stands for a transport in the legend.
type swatch struct{ color.Color }

// Thumbnail makes a swatch a plot.Thumbnailer.
func (s swatch) Thumbnail(c *draw.Canvas) {
	mid := (c.Min.Y + c.Max.Y) / 2
	h := vg.Points(2)
	c.FillPolygon(s.Color, []vg.Point{
		{X: c.Min.X, Y: mid - h}, {X: c.Max.X, Y: mid - h}, {X: c.Max.X, Y: mid + h}, {X: c.Min.X, Y: mid + h},
	})
}

// discs are glyphs without a rim.
type discs struct{ draw.CircleGlyph }
