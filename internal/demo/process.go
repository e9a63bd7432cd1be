// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"time"
)

const (
	graceTime = 3 * time.Second // from the signal to the end
	logLines  = 4000            // kept of each output
	logShown  = 400             // of them, when something went wrong
)

// A process is a program that was started, and what it says.
type process struct {
	name  string
	cmd   *exec.Cmd
	stdin io.WriteCloser
	out   *tail // standard output
	log   *tail // standard error
	done  chan struct{}
	err   error // of the program; set before done is closed
}

// A command is [exec.CommandContext], or the like somewhere else.
type command func(ctx context.Context, name string, args ...string) *exec.Cmd

// start runs a program of d.dir. Its working directory is dir.
func (d *demo) start(ctx context.Context, at command, name, program, dir string, args ...string) (*process, error) {
	p := &process{name: name, out: newTail(), log: newTail(), done: make(chan struct{})}
	// Its life is not ctx's: it is asked to end in good order, by end.
	p.cmd = at(context.WithoutCancel(ctx), d.program(program), args...)
	p.cmd.Dir = dir
	p.cmd.Stderr = p.log
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	p.stdin = stdin
	p.cmd.Stdout = p.out
	p.cmd.WaitDelay = graceTime // for output that somebody else still holds
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		p.out.close()
		close(p.done)
	}()
	d.processes = append(d.processes, p)
	return p, nil
}

// signal asks the process to end.
func (p *process) signal() {
	if runtime.GOOS == "windows" { // has no such signal
		_ = p.cmd.Process.Kill()
		return
	}
	_ = p.cmd.Process.Signal(os.Interrupt)
}

// end ends the process, by force if it does not comply, and waits until it is gone.
func (p *process) end() {
	select {
	case <-p.done:
		return
	default:
	}
	p.signal()
	select {
	case <-p.done:
	case <-time.After(graceTime):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// wait waits until the process has ended by itself, without an error.
func (p *process) wait(ctx context.Context) error {
	select {
	case <-p.done:
	case <-ctx.Done():
		return fmt.Errorf("%s does not end: %w", p.name, ctx.Err())
	}
	if p.err != nil {
		return fmt.Errorf("%s: %w", p.name, p.err)
	}
	return nil
}

// expect waits for a line of output that matches pattern as a whole, and returns its groups. Lines are read once: what is
// before that line is not looked at again by the same reader.
func (p *process) expect(ctx context.Context, r *reader, pattern string, limit time.Duration) ([]string, error) {
	re := regexp.MustCompile("^(?:" + pattern + ")$")
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		line, err := r.next(ctx)
		if err != nil {
			return nil, fmt.Errorf("%s did not print a line like %q within %v: %w", p.name, pattern, limit, err)
		}
		if groups := re.FindStringSubmatch(line); groups != nil {
			return groups, nil
		}
	}
}

// A tail keeps the last lines written to it.
type tail struct {
	mu    sync.Mutex
	part  strings.Builder // of a line
	lines []string
	first int           // number of lines[0]
	ended bool          // nothing will come any more
	more  chan struct{} // closed, and replaced, when there is news
}

func newTail() *tail { return &tail{more: make(chan struct{})} }

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range b {
		if c != '\n' {
			t.part.WriteByte(c)
			continue
		}
		t.lines = append(t.lines, strings.TrimSuffix(t.part.String(), "\r"))
		t.part.Reset()
		if len(t.lines) > logLines {
			t.lines, t.first = t.lines[1:], t.first+1
		}
	}
	t.wake()
	return len(b), nil
}

func (t *tail) wake() {
	close(t.more)
	t.more = make(chan struct{})
}

func (t *tail) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	t.wake()
}

func (t *tail) all() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]string(nil), t.lines...)
}

// A reader reads the lines of a tail.
type reader struct {
	t *tail
	n int // number of the next line
}

// next returns the next line. Its errors are io.EOF and the context's.
func (r *reader) next(ctx context.Context) (string, error) {
	for {
		r.t.mu.Lock()
		i := max(r.n-r.t.first, 0)
		if i < len(r.t.lines) {
			line := r.t.lines[i]
			r.n = r.t.first + i + 1
			r.t.mu.Unlock()
			return line, nil
		}
		ended, more := r.t.ended, r.t.more
		r.t.mu.Unlock()
		if ended {
			return "", io.EOF
		}
		select {
		case <-more:
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

// printLogs prints what the processes have said.
func (d *demo) printLogs(w io.Writer) {
	b := bufio.NewWriter(w)
	defer b.Flush()
	for _, p := range d.processes {
		for _, o := range []struct {
			what string
			t    *tail
		}{{"output", p.out}, {"log", p.log}} {
			fmt.Fprintf(b, "\n--- %s of %s\n", o.what, p.name)
			lines := o.t.all()
			for _, line := range lines[max(0, len(lines)-logShown):] {
				fmt.Fprintln(b, line)
			}
		}
	}
	fmt.Fprintln(b)
}
