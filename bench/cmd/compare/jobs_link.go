// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"math"
	"time"

	"github.com/seed-98f0d4c2/runnel/bench/clock"
	"github.com/seed-98f0d4c2/runnel/bench/figures"
	"github.com/seed-98f0d4c2/runnel/bench/job"
	"github.com/seed-98f0d4c2/runnel/bench/link"
	"github.com/seed-98f0d4c2/runnel/bench/transport"
)

// The link of all link jobs: an upstream of a household.
const (
	linkRate  = 20e6 // bit/s, both ways, IP headers counted
	linkDelay = 20 * time.Millisecond
	linkQueue = int(linkRate / 8 / 10) // bytes: 100 ms at the link's rate
	linkChunk = 16 << 10               // bytes: a message is there when it is whole, so small ones make a smooth curve
)

// A network is a link with the sender of the data on side 0.
type network struct {
	*link.Link
	eventLog string
}

func (s *settings) network(c conditions) (network, error) {
	cfg := link.Config{
		Rate: linkRate, Delay: linkDelay, Queue: linkQueue,
		Loss: [2]float64{c.loss, c.loss}, Seed: 2 * (s.seed + uint64(c.run)),
	}
	if s.dataLossOnly {
		cfg.Loss[1] = 0
	}
	l, err := link.New(cfg)
	return network{l, s.eventLog}, err
}

func (n network) place(side int) job.Place {
	s := n.Side(side)
	return job.Place{Local: s.Addr(), Do: s.Do}
}

func (n network) start(ctx context.Context, spec job.Spec) (*job.Pair, error) {
	spec.EventLog = n.eventLog
	return job.Start(ctx, spec, n.place(1), n.place(0))
}

// count adds the link's own counts to values.
func (n network) count(values map[string]float64) {
	st, back := n.Stats(0), n.Stats(1)
	values["link: packets"] = float64(st.Sent)
	values["link: dropped"] = float64(st.Dropped)
	values["link: lost"] = float64(st.Lost)
	values[latePercent] = 100 * float64(st.Late+back.Late) / float64(max(1, st.Sent+back.Sent))
}

// latePercent says how far a figure over the link is to be trusted.
const latePercent = "link: late %"

// linkPercent says how much of the link the data filled.
func linkPercent(bytes, seconds float64) float64 { return 100 * bytes * 8 / seconds / linkRate }

func linkBulk(ctx context.Context, s *settings, t *transport.Transport, c conditions) (*record, error) {
	return overLink(ctx, s, c, job.Spec{Transport: t.Name, Job: job.Bulk, Size: linkChunk, Duration: s.linkDuration})
}

func linkVoice(ctx context.Context, s *settings, t *transport.Transport, c conditions) (*record, error) {
	return overLink(ctx, s, c, job.Spec{Transport: t.Name, Job: job.Bulk, Size: linkChunk, Duration: s.linkDuration, Voice: true})
}

// overLink runs one pair with the link to itself.
func overLink(ctx context.Context, s *settings, c conditions, spec job.Spec) (*record, error) {
	n, err := s.network(c)
	if err != nil {
		return nil, err
	}
	defer n.Close()
	p, err := n.start(ctx, spec)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	o, err := p.Run(ctx)
	if err != nil {
		return nil, err
	}
	rec := &record{
		Values: count(o, map[string]float64{"% of link": linkPercent(float64(o.Server.Bytes), s.linkDuration.Seconds())}),
		Series: newSeries(o, n.Samples(0)),
	}
	n.count(rec.Values)
	if v := o.Server.Voice; v != nil {
		judge(v, rec.Values)
	}
	return rec, nil
}

// judge puts what voice is worth into values. What has not come has infinite delay.
func judge(v *job.Voice, values map[string]float64) {
	var lag []float64
	bad := 0
	for i := range v.Sent {
		ms := math.Inf(1)
		if i < len(v.Lag) && v.Lag[i] >= 0 {
			ms = v.Lag[i]
		}
		if ms > transport.VoiceLife {
			bad++
		}
		if !math.IsInf(ms, 1) {
			lag = append(lag, ms)
		}
	}
	values["voice p50 ms"] = figures.Percentile(lag, 50)
	values["voice p99 ms"] = figures.Percentile(lag, 99)
	values["late or lost %"] = 100 * float64(bad) / float64(max(1, v.Sent))
}

// linkFair runs the transport against a kernel's TCP, once as the first and once as the second to start.
func linkFair(ctx context.Context, s *settings, t *transport.Transport, c conditions) (*record, error) {
	rec := &record{Values: map[string]float64{}}
	for _, first := range []bool{true, false} {
		names, key := [2]string{t.Name, "tls"}, "÷ TCP, first"
		if !first {
			names, key = [2]string{"tls", t.Name}, "÷ TCP, second"
		}
		shares, err := together(ctx, s, c, names)
		if err != nil {
			return nil, err
		}
		if !first {
			shares[0], shares[1] = shares[1], shares[0]
		}
		rec.Values[key] = shares[0] / shares[1]
		rec.Values["both % of link, "+key[len("÷ TCP, "):]] = shares[0] + shares[1]
	}
	return rec, nil
}

// linkSelf runs the transport against itself.
func linkSelf(ctx context.Context, s *settings, t *transport.Transport, c conditions) (*record, error) {
	shares, err := together(ctx, s, c, [2]string{t.Name, t.Name})
	if err != nil {
		return nil, err
	}
	return &record{Values: map[string]float64{
		"Jain": figures.Jain(shares[:]), "both % of link": shares[0] + shares[1],
	}}, nil
}

// together runs two bulk transfers, the second starting a while after the first, and returns how much of the link, in
// percent, each had in the last two thirds of the time that they shared.
func together(ctx context.Context, s *settings, c conditions, names [2]string) (shares [2]float64, err error) {
	n, err := s.network(c)
	if err != nil {
		return shares, err
	}
	defer n.Close()
	lead := s.linkDuration / 3
	lengths := [2]time.Duration{lead + 2*s.linkDuration, 2 * s.linkDuration}
	type done struct {
		i   int
		o   *job.Outcome
		err error
	}
	ends := make(chan done, 2)
	for i, name := range names {
		p, e := n.start(ctx, job.Spec{Transport: name, Job: job.Bulk, Size: linkChunk, Duration: lengths[i]})
		if e != nil {
			return shares, e
		}
		defer p.Close()
		go func() {
			if i == 1 {
				wait(ctx, lead)
			}
			o, err := p.Run(ctx)
			ends <- done{i, o, err}
		}()
	}
	var outs [2]*job.Outcome
	for range outs {
		d := <-ends
		if d.err != nil {
			return shares, d.err
		}
		outs[d.i] = d.o
	}
	from := outs[1].Client.Start + (outs[1].Client.End-outs[1].Client.Start)/3
	to := min(outs[0].Client.End, outs[1].Client.End)
	for i, o := range outs {
		shares[i] = linkPercent(between(o.Server, from, to), (to - from).Seconds())
	}
	return shares, nil
}

// between returns how many bytes arrived between two times, to a Step.
func between(r *job.Result, from, to time.Duration) float64 {
	var sum float64
	for i, n := range r.Series {
		at := r.Start + time.Duration(i)*job.Step
		if at >= from && at < to {
			sum += float64(n)
		}
	}
	return sum
}

// linkDrop takes three quarters of the link away for ten seconds.
func linkDrop(ctx context.Context, s *settings, t *transport.Transport, c conditions) (*record, error) {
	before, during, after := 10*time.Second, 10*time.Second, 12*time.Second
	if s.quick {
		before, during, after = 2*time.Second, 3*time.Second, 3*time.Second
	}
	n, err := s.network(c)
	if err != nil {
		return nil, err
	}
	defer n.Close()
	p, err := n.start(ctx, job.Spec{Transport: t.Name, Job: job.Bulk, Size: linkChunk, Duration: before + during + after})
	if err != nil {
		return nil, err
	}
	defer p.Close()
	var dropped, returned time.Duration
	changed := make(chan struct{})
	go func() {
		defer close(changed)
		wait(ctx, before)
		n.SetRate(linkRate / 4)
		dropped = clock.Now()
		wait(ctx, during)
		n.SetRate(linkRate)
		returned = clock.Now()
	}()
	o, err := p.Run(ctx)
	if err != nil {
		return nil, err
	}
	<-changed
	samples := n.Samples(0)
	rec := &record{
		Values: map[string]float64{
			"p95 wait ms, 1–2 s after the drop":     waits(samples, dropped+time.Second, dropped+2*time.Second, 95),
			"p95 wait ms, 1 s after the drop to 10": waits(samples, dropped+time.Second, returned, 95),
			"s to 90 % after the return":            recovery(samples, returned, o.Client.End),
			"% of the quarter":                      4 * linkPercent(between(o.Server, dropped+time.Second, returned), (returned-dropped-time.Second).Seconds()),
		},
		Series: newSeries(o, samples),
	}
	n.count(rec.Values)
	return rec, nil
}

// waits returns a percentile of the time that packets have waited in the link's buffer, in ms.
func waits(samples []link.Sample, from, to time.Duration, percent float64) float64 {
	var v []float64
	for _, x := range samples {
		if x.At >= from && x.At < to {
			v = append(v, float64(x.Wait)/1e6)
		}
	}
	return figures.Percentile(v, percent)
}

// recovery returns the seconds from a time to the first half second in which the link is 90 % full, and infinity if there
// is none before the time to.
func recovery(samples []link.Sample, from, to time.Duration) float64 {
	const window = 500 * time.Millisecond
	enough := 0.9 * linkRate / 8 * window.Seconds()
	i, sum := 0, 0.0
	for _, x := range samples {
		if x.At < from || x.At > to {
			continue
		}
		for ; samples[i].At < max(from, x.At-window); i++ {
			if samples[i].At >= from {
				sum -= float64(samples[i].Size)
			}
		}
		sum += float64(x.Size)
		if sum >= enough && x.At >= from+window {
			return (x.At - window - from).Seconds()
		}
	}
	return math.Inf(1)
}

// A series is what happened in the course of a run over the link, for plots. Times are seconds since the client's start.
type series struct {
	Rate  []point // of all packets that the link carries, Mbit/s
	Wait  []point // greatest in the buffer in each step, ms
	Voice []point `json:",omitempty"` // one way, ms; -1 for what has not come
}

type point [2]float64

// The steps of a series: fine enough to show what a congestion controller does, and no finer.
const (
	rateStep = 200 * time.Millisecond
	waitStep = 50 * time.Millisecond
)

func newSeries(o *job.Outcome, samples []link.Sample) *series {
	s := &series{}
	zero := o.Client.Start
	for _, x := range samples {
		if x.At < zero || x.At >= o.Client.End {
			continue
		}
		add := func(to *[]point, step time.Duration, y float64, join func(a, b float64) float64) {
			at := round((x.At - zero).Truncate(step).Seconds())
			if k := len(*to); k > 0 && (*to)[k-1][0] == at {
				(*to)[k-1][1] = join((*to)[k-1][1], y)
			} else {
				*to = append(*to, point{at, y})
			}
		}
		add(&s.Rate, rateStep, float64(x.Size)*8/rateStep.Seconds()/1e6, func(a, b float64) float64 { return a + b })
		add(&s.Wait, waitStep, round(x.Wait.Seconds()*1e3), func(a, b float64) float64 { return max(a, b) })
	}
	for i := range s.Rate {
		s.Rate[i][1] = round(s.Rate[i][1])
	}
	if v := o.Server.Voice; v != nil {
		for i := range v.Sent {
			lag := -1.0
			if i < len(v.Lag) {
				lag = v.Lag[i]
			}
			s.Voice = append(s.Voice, point{round((job.VoiceLead + time.Duration(i)*job.VoiceInterval).Seconds()), round(lag)})
		}
	}
	return s
}

func round(x float64) float64 { return math.Round(x*1000) / 1000 }

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
