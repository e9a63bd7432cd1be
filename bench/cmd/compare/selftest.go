// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/seed-98f0d4c2/runnel/bench/figures"
	"github.com/seed-98f0d4c2/runnel/bench/link"
)

// selftest measures the emulated link with plain UDP and says whether it is what it claims to be.
func selftest(w io.Writer) error {
	l, err := link.New(link.Config{Rate: linkRate, Delay: linkDelay, Queue: linkQueue, Seed: 1})
	if err != nil {
		return err
	}
	defer l.Close()
	var socks [2]*net.UDPConn
	for i := range socks {
		side := l.Side(i)
		if err := side.Do(func() (err error) {
			socks[i], err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(side.Addr(), 0)))
			return err
		}); err != nil {
			return err
		}
		defer socks[i].Close()
		_ = socks[i].SetReadBuffer(4 << 20)
	}
	failed := false
	check := func(what string, got, want, tolerance float64, unit string) {
		verdict := "ok"
		if math.IsNaN(got) || math.Abs(got-want) > tolerance {
			verdict, failed = "NOT OK", true
		}
		fmt.Fprintf(w, "%-40s %9.2f %-6s want %g ± %g: %s\n", what, got, unit, want, tolerance, verdict)
	}

	rtts, err := pings(socks[0], socks[1], 100)
	if err != nil {
		return err
	}
	want := 2 * linkDelay.Seconds() * 1e3
	check("round trip of a small packet, median", figures.Median(rtts), want, 1, "ms")
	check("round trip of a small packet, p95", figures.Percentile(rtts, 95), want, 1.5, "ms")

	const blast = 5 * time.Second
	bits, waits, err := overload(l, socks[0], socks[1], blast)
	if err != nil {
		return err
	}
	check("rate of a blast of 1500-byte packets", bits/1e6, linkRate/1e6, linkRate/1e6*0.01, "Mbit/s")
	check("wait in the full buffer, median", figures.Median(waits), 100, 2, "ms")
	s := l.Stats(0)
	fmt.Fprintf(w, "sent %d, dropped %d at the tail, lost %d, delivered %d more than %v late\n",
		s.Sent, s.Dropped, s.Lost, s.Late, link.Tolerance)

	for i, percent := range []float64{1, 5} {
		if err := losses(percent, uint64(i), check); err != nil {
			return err
		}
	}
	if failed {
		return errors.New("the link is not what it says; is the machine busy?")
	}
	return nil
}

// pings returns round-trip times in milliseconds.
func pings(a, b *net.UDPConn, n int) (rtts []float64, err error) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		buf := make([]byte, 64)
		for {
			k, from, err := b.ReadFromUDPAddrPort(buf)
			if err != nil {
				return // the read deadline, when the pings are over
			}
			_, _ = b.WriteToUDPAddrPort(buf[:k], from)
		}
	}()
	defer func() {
		_ = b.SetReadDeadline(time.Now())
		<-ended
		_ = b.SetReadDeadline(time.Time{})
	}()
	pace := time.NewTicker(3 * time.Millisecond)
	defer pace.Stop()
	buf := make([]byte, 64)
	to := b.LocalAddr().(*net.UDPAddr).AddrPort()
	for range n {
		start := time.Now()
		if _, err := a.WriteToUDPAddrPort([]byte("ping"), to); err != nil {
			return nil, err
		}
		_ = a.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, _, err := a.ReadFromUDPAddrPort(buf); err != nil {
			return nil, err
		}
		rtts = append(rtts, time.Since(start).Seconds()*1e3)
		<-pace.C
	}
	return rtts, nil
}

// overload sends half again as much as the link takes, and returns the rate of what arrives while the buffer is full, IP
// headers counted, and how long packets waited then, in milliseconds.
func overload(l *link.Link, a, b *net.UDPConn, length time.Duration) (bits float64, waits []float64, err error) {
	const payload, packet = 1472, 1500
	var arrived atomic.Int64
	go func() {
		buf := make([]byte, 2048)
		for {
			if _, _, err := b.ReadFromUDPAddrPort(buf); err != nil {
				return
			}
			arrived.Add(packet)
		}
	}()
	to := b.LocalAddr().(*net.UDPAddr).AddrPort()
	over := make(chan error, 1)
	go func() {
		data := make([]byte, payload)
		pace := time.NewTicker(time.Millisecond)
		defer pace.Stop()
		start := time.Now()
		for sent := 0; ; {
			since := time.Since(start)
			if since > length {
				over <- nil
				return
			}
			for ; float64(sent)*packet*8 < 1.5*linkRate*since.Seconds(); sent++ {
				if _, err := a.WriteToUDPAddrPort(data, to); err != nil {
					over <- err
					return
				}
			}
			<-pace.C
		}
	}()
	<-time.After(length / 4)
	from, first := time.Now(), arrived.Load()
	skip := len(l.Samples(0))
	<-time.After(length / 2)
	bits = float64(arrived.Load()-first) * 8 / time.Since(from).Seconds()
	for _, s := range l.Samples(0)[skip:] {
		waits = append(waits, s.Wait.Seconds()*1e3)
	}
	return bits, waits, <-over
}

// losses sends a known number of packets over a fast link that loses some.
func losses(percent float64, seed uint64, check func(what string, got, want, tolerance float64, unit string)) error {
	l, err := link.New(link.Config{Rate: 1e9, Queue: 1 << 20, Loss: [2]float64{percent / 100, 0}, Seed: seed})
	if err != nil {
		return err
	}
	defer l.Close()
	var a *net.UDPConn
	if err := l.Side(0).Do(func() (err error) {
		a, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(l.Side(0).Addr(), 0)))
		return err
	}); err != nil {
		return err
	}
	defer a.Close()
	pace := time.NewTicker(time.Millisecond)
	defer pace.Stop()
	const n = 20_000
	for i := range n {
		// The answers, that nobody listens at this port, come back as errors of the next call: they mean nothing.
		_, _ = a.WriteToUDPAddrPort([]byte("x"), netip.AddrPortFrom(l.Side(1).Addr(), 9))
		if i%100 == 99 {
			<-pace.C
		}
	}
	<-time.After(50 * time.Millisecond) // the last are under way
	s := l.Stats(0)
	p := percent / 100
	check(fmt.Sprintf("loss of a link that loses %g %%", percent), 100*float64(s.Lost)/float64(s.Sent), percent,
		math.Round(500*math.Sqrt(p*(1-p)/n)*100)/100, "%")
	return nil
}
