// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e && linux

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/netns"
)

const (
	roamTime = 2 * time.Minute  // for everything after the building
	calmTime = 20 * time.Second // until lines flow again
	fileRate = 10e6             // bits per second of alice's links, so that the file lasts
	fileSize = 24 << 20
)

// roam shows a peer that changes networks.
func (d *demo) roam(ctx context.Context) (err error) {
	lab := &stage{d: d}
	defer func() {
		if r := recover(); r != nil {
			broken, ours := r.(stageError)
			if !ours {
				panic(r)
			}
			err = broken.error
		}
	}()
	n := netns.New(lab)

	d.title("Runnel: a peer that changes networks, on an internet of Linux network namespaces")
	if err := d.build(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, roamTime)
	defer cancel()
	servers := n.Site("servers", nil)
	relay, rendezvous := servers.Host("relay"), servers.Host("rendezvous")
	url, err := d.startServers(ctx,
		place{relay.Command, relay.Addr().String()}, place{rendezvous.Command, rendezvous.Addr().String()})
	if err != nil {
		return err
	}
	nat := netns.SiteConfig{NAT: netns.Cone, Family: netns.IPv4, Rate: fileRate}
	wifi, cable, home := n.Site("wifi", &nat), n.Site("cable", &nat), n.Site("home", &nat)
	aliceHost, bobHost := wifi.Host("alice"), home.Host("bob")
	w := &walk{demo: d, wifi: wifi, cable: cable, radio: aliceHost.Uplink(), plug: aliceHost.Plug(cable)}
	w.radio.Down()
	w.radio.Up(metricWiFi)
	d.fact("networks", "alice's Wi-Fi behind %v, her cable behind %v, bob's home behind %v", wifi.Addr(), cable.Addr(), home.Addr())
	if w.alice, err = d.startPeer(ctx, aliceHost.Command, "alice", url); err != nil {
		return err
	}
	if w.bob, err = d.startPeer(ctx, bobHost.Command, "bob", url); err != nil {
		return err
	}
	if err := d.meet(ctx, w.alice, w.bob); err != nil {
		return err
	}
	if err := w.perform(ctx); err != nil {
		return err
	}
	return d.part(ctx, w.alice, w.bob) // the relay would wait for what she has left behind at her other addresses
}

// A walk is what alice does with her networks.
type walk struct {
	*demo
	alice, bob  *talker
	wifi, cable *netns.Site
	radio, plug *netns.Uplink
	there, back *count // lines from alice to bob, and from bob to alice
}

// Metrics of NetworkManager's default routes.
const (
	metricWiFi  = 600
	metricCable = 100
)

// perform shows every change, while lines and a file are on their way.
func (w *walk) perform(ctx context.Context) (err error) {
	w.there, w.back = newCount(w.alice, w.bob), newCount(w.bob, w.alice)
	var wg sync.WaitGroup
	defer wg.Wait()
	listening, hush := context.WithCancel(ctx)
	defer hush()
	speaking, stop := context.WithCancel(ctx)
	defer stop()
	wg.Go(func() { listen(listening, w.alice, w.back, w.there) })
	wg.Go(func() { listen(listening, w.bob, w.there, w.back) })
	wg.Go(func() { speak(speaking, w.there, w.back) })
	file, err := w.offer(w.alice, fileSize)
	if err != nil {
		return err
	}
	const hole, restart, outage = time.Second, 2 * time.Second, 5 * time.Second
	for _, act := range []struct {
		title string
		hole  bool // no line can get through meanwhile
		do    func()
	}{
		{"Her Wi-Fi is gone, and a second later the cable is in", true, func() {
			w.radio.Down()
			pause(ctx, hole)
			w.plug.Up(metricCable)
		}},
		{"Her provider is out for five seconds; nobody tells her", true, func() {
			w.cable.SetDown(true)
			pause(ctx, outage)
			w.cable.SetDown(false)
		}},
		{"Wi-Fi is back, and she pulls the cable", false, func() {
			w.radio.Up(metricWiFi)
			pause(ctx, hole)
			w.plug.Down()
		}},
		{"Her router restarts, which takes two seconds: another port, another address", true, func() {
			w.wifi.SetDown(true)
			w.wifi.Renumber()
			w.wifi.Rebind()
			pause(ctx, restart)
			w.wifi.SetDown(false)
		}},
	} {
		if err := w.change(ctx, act.title, act.hole, act.do); err != nil {
			return err
		}
	}
	for _, line := range w.bob.notes.all() {
		if strings.HasPrefix(line, "* file received ") {
			return errors.New("the file was through before the last change; it was to be on its way")
		}
	}
	stop()
	return w.audit(ctx, file)
}

// change does something to the networks and tells how long nothing arrived because of it.
func (w *walk) change(ctx context.Context, title string, hole bool, do func()) error {
	w.act(title)
	both := []*count{w.there, w.back}
	for _, c := range both {
		c.begin()
	}
	start := time.Now()
	do()
	took := time.Since(start)
	for _, c := range both {
		if err := c.calm(ctx); err != nil {
			return fmt.Errorf("%s: %w", title, err)
		}
	}
	for _, c := range both {
		gap, said := c.result()
		text := fmt.Sprintf("%v without a line", round(gap))
		if hole {
			text += fmt.Sprintf(", %v of which there was no network", round(took))
		}
		w.fact("gap", "%5s → %-5s  %s", c.from.nick, c.to.nick, text)
		for _, line := range said {
			w.fact("", "%s: %s", c.to.nick, line)
		}
	}
	w.gap()
	return nil
}

// audit is called when nothing is said any more: all must have been heard once, and the file must be what it was.
func (w *walk) audit(ctx context.Context, file sentFile) error {
	for _, c := range []*count{w.there, w.back} {
		if err := c.settle(ctx); err != nil {
			return err
		}
		w.fact("counted", "%5s → %-5s  %d lines, each heard once and in order", c.from.nick, c.to.nick, c.Numbers().Said)
	}
	if err := w.compare(ctx, file, w.alice, w.bob, &reader{t: w.alice.notes}, &reader{t: w.bob.notes}); err != nil {
		return err
	}
	w.gap()
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
