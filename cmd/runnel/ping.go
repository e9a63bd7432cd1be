// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/program"
	"github.com/seed-98f0d4c2/runnel/peer"
)

type pingCmd struct {
	network
	target
	Count    int           `short:"c" help:"How many times; 0 for ever." default:"0"`
	Interval time.Duration `short:"i" help:"Time between two." default:"1s"`
}

// method is one that peers do not have: saying so takes them a round trip, whatever program they are.
const method = "ping of the runnel tool"

const pingTimeout = 10 * time.Second

// Run measures until it has had its count, is interrupted, or the session ends.
func (c *pingCmd) Run(ctx context.Context, out *console) error {
	ep, s, err := c.dial(ctx, &c.target, out.stderr)
	if err != nil {
		var dial *peer.DialError
		if errors.As(err, &dial) && dial.Explanation != nil && dial.Explanation.Remedy != "" {
			err = fmt.Errorf("%w\n%s", err, dial.Explanation.Remedy)
		}
		return err
	}
	defer closeEndpoint(ep)
	var mu sync.Mutex // lines are whole
	line := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(out.stdout, format+"\n", args...)
	}
	st := s.Stats()
	line("%s: session in %v, path %s", s.Peer().Short(), short(st.Timeline[len(st.Timeline)-1].At), pathText(st.Path))
	watching, stop := context.WithCancel(ctx)
	var watcher sync.WaitGroup
	watcher.Go(func() { watch(watching, s, line) })
	tally := c.measure(ctx, s, line)
	stop()
	watcher.Wait()
	end := s.Stats()
	line("%s, %d path changes, %d stalls, ecn %s", &tally, end.PathChanges, end.Stalls, end.Flow.ECN)
	if tally.answered == 0 {
		return exitError(program.ExitRuntime)
	}
	return nil
}

// measure asks again and again.
func (c *pingCmd) measure(ctx context.Context, s *peer.Session, line func(string, ...any)) (t tally) {
	tick := time.NewTicker(max(c.Interval, 10*time.Millisecond))
	defer tick.Stop()
	for seq := 1; ; seq++ {
		limited, cancel := context.WithTimeout(ctx, pingTimeout)
		began := time.Now()
		_, err := s.Call(limited, method, nil, nil)
		cancel()
		took := time.Since(began)
		if ctx.Err() != nil {
			return t
		}
		t.sent++
		var call *peer.CallError
		switch {
		case err == nil || errors.As(err, &call) && call.Code == peer.CallNotFound:
			t.add(took)
			line("seq=%d rtt=%v path=%s", seq, short(took), pathText(s.Stats().Path))
		default:
			line("seq=%d %v", seq, err)
		}
		if t.sent == c.Count || s.Err() != nil {
			return t
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return t
		}
	}
}

// watch shows what happens to the session.
func watch(ctx context.Context, s *peer.Session, line func(string, ...any)) {
	for {
		ev, err := s.NextEvent(ctx)
		if err != nil {
			return
		}
		switch ev := ev.(type) {
		case peer.PathChanged:
			line("path %s: %s", pathText(ev.To), ev.Why)
		case peer.Degraded:
			line("degraded: %s", ev.Why)
		case peer.Stalled:
			line("stalled: %s", ev.Why)
		case peer.Resumed:
			line("resumed after %v, path %s", short(ev.Gap), pathText(ev.Path))
		case peer.Closed:
			line("ended: %v", ev.Err)
		}
	}
}

// A tally sums up.
type tally struct {
	sent, answered   int
	least, most, sum time.Duration
}

func (t *tally) add(d time.Duration) {
	if t.answered == 0 || d < t.least {
		t.least = d
	}
	t.answered++
	t.most, t.sum = max(t.most, d), t.sum+d
}

func (t *tally) String() string {
	s := fmt.Sprintf("%d sent, %d answered", t.sent, t.answered)
	if t.answered > 0 {
		s += fmt.Sprintf(", rtt min/avg/max %v/%v/%v", short(t.least), short(t.sum/time.Duration(t.answered)), short(t.most))
	}
	return s
}

func pathText(p peer.Path) string { return fmt.Sprintf("%v %v", p.Kind, p.Remote) }

// short leaves out the digits that nobody reads.
func short(d time.Duration) time.Duration { return d.Round(max(time.Microsecond, d/1000)) }
