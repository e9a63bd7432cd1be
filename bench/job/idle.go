// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package job

import (
	"context"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/seed-98f0d4c2/runnel/bench/transport"
)

// idleAtOnce is how many connections are being established at a time.
const idleAtOnce = 16

// idle makes connections that do nothing, and reports what each of them costs this process. The first one pays for what
// all share and is not counted.
func (s *side) idle(ctx context.Context, env transport.Env) error {
	var l transport.Listener
	var d transport.Dialer
	var err error
	if s.spec.Server {
		l, err = s.t.Listen(ctx, env)
	} else {
		d, err = s.t.NewDialer(ctx, env)
	}
	if err != nil {
		return err
	}
	conns := make([]transport.Conn, s.spec.Count+1)
	get := func(ctx context.Context, i int) (err error) {
		if l != nil {
			conns[i], err = l.Accept(ctx)
		} else {
			conns[i], err = d.Dial(ctx)
		}
		return err
	}
	if err := get(ctx, 0); err != nil {
		return err
	}
	before := settled(s.spec.Settle)
	if err := s.ready(); err != nil { // both are at the same place
		return err
	}
	r := Result{Start: now()}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(idleAtOnce)
	if s.t.Serial {
		g.SetLimit(1)
	}
	for i := range s.spec.Count {
		g.Go(func() error { return get(ctx, i+1) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	r.End = now()
	after := settled(s.spec.Settle)
	s.usage(&r)
	r.Messages = uint64(s.spec.Count)
	r.Heap = uint64(max(0, int64(after.heap)-int64(before.heap))) / uint64(s.spec.Count)
	r.Goroutines = float64(after.goroutines-before.goroutines) / float64(s.spec.Count)
	runtime.KeepAlive(conns)
	if s.spec.Server {
		if _, err := s.await(kindStop); err != nil {
			return err
		}
		return s.pipe.send(message{Kind: kindResult, Result: &r})
	}
	return s.pipe.send(message{Kind: kindDone, Result: &r})
}

type footprint struct {
	heap       uint64
	goroutines int
}

func settled(after time.Duration) footprint {
	time.Sleep(after)
	runtime.GC()
	runtime.GC() // what the first has finalised
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return footprint{m.HeapAlloc + m.StackInuse, runtime.NumGoroutine()}
}
