// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package job

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed-98f0d4c2/runnel/bench/clock"
	"github.com/seed-98f0d4c2/runnel/bench/transport"
)

// connectTime bounds the time from a child's start to its being connected.
const connectTime = 60 * time.Second

// Main does the job that comes in on r and ends when r does.
func Main(r io.Reader, w io.Writer) error {
	p := newPipe(r, w)
	first, ok := <-p.control
	if !ok || first.Spec == nil {
		return errors.New("job: no job came")
	}
	err := run(p, first.Spec)
	if err != nil {
		_ = p.send(message{Kind: kindFail, Error: err.Error()})
	}
	for range p.control { // until the parent is gone
	}
	return err
}

// A side is one child at work.
type side struct {
	*pipe
	spec *Spec
	t    *transport.Transport

	conn  transport.Conn
	main  transport.Channel
	voice transport.Channel

	cpu time.Duration // used before the start
}

func run(p *pipe, spec *Spec) error {
	t, ok := transport.Find(spec.Transport)
	if !ok {
		return fmt.Errorf("job: no transport %q", spec.Transport)
	}
	ctx, cancel := context.WithTimeout(context.Background(), connectTime+2*spec.Settle)
	defer cancel()
	s := &side{pipe: p, spec: spec, t: t}
	env := transport.Env{Local: spec.Local, Signal: p, EventLog: spec.EventLog}
	if spec.Job == Idle {
		return s.idle(ctx, env)
	}
	if err := s.connect(ctx, env); err != nil {
		return err
	}
	if spec.Server {
		return s.serve()
	}
	return s.send()
}

func (s *side) kind() transport.Kind {
	switch s.spec.Job {
	case Messages:
		return transport.Messages
	case Buffered:
		return transport.Buffered
	case Ping:
		return transport.Ping
	}
	return transport.Bulk
}

func (s *side) connect(ctx context.Context, env transport.Env) error {
	channel := transport.Conn.Open
	if s.spec.Server {
		channel = transport.Conn.Accept
		l, err := s.t.Listen(ctx, env)
		if err != nil {
			return err
		}
		if s.conn, err = l.Accept(ctx); err != nil {
			return err
		}
	} else {
		d, err := s.t.NewDialer(ctx, env)
		if err != nil {
			return err
		}
		if s.conn, err = d.Dial(ctx); err != nil {
			return err
		}
	}
	var err error
	if s.main, err = channel(s.conn, ctx, s.kind()); err != nil {
		return err
	}
	if s.spec.Voice {
		s.voice, err = channel(s.conn, ctx, transport.Voice)
	}
	return err
}

// await waits for the parent to say something.
func (s *side) await(k kind) (message, error) {
	m, ok := <-s.control
	if !ok {
		return m, errors.New("job: the parent is gone")
	}
	if m.Kind != k {
		return m, fmt.Errorf("job: the parent said %q, want %q", m.Kind, k)
	}
	return m, nil
}

// ready tells the parent that we are, and waits for the start.
func (s *side) ready() error {
	runtime.GC() // what connecting has left behind is not what is measured
	if err := s.pipe.send(message{Kind: kindReady}); err != nil {
		return err
	}
	_, err := s.await(kindStart)
	s.cpu = cpuTime()
	return err
}

// usage completes a result with what the process has used since the start.
func (s *side) usage(r *Result) {
	r.CPU = cpuTime() - s.cpu
	if c, ok := s.conn.(transport.Counter); ok {
		r.Counts = c.Counts()
	}
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err == nil {
		r.MaxRSS = u.Maxrss << 10 // kilobytes on Linux
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	r.Heap = m.HeapInuse + m.StackInuse
}

func cpuTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// fail tells the parent that something went wrong in the middle of a job.
func (s *side) fail(what string, err error) {
	_ = s.pipe.send(message{Kind: kindFail, Error: fmt.Sprintf("%s: %v", what, err)})
}

func now() time.Duration { return clock.Now() }
