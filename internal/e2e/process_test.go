// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e && linux

package e2e

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/netns"
)

// A process is a program that runs on a host.
type process struct {
	t     *testing.T
	name  string
	cmd   *exec.Cmd
	stdin io.WriteCloser
	start time.Time
	done  chan struct{} // closed when it has ended and all its output is here

	mu      sync.Mutex             // guards the following
	out     []string               // lines of standard output
	errs    []string               // lines of standard error
	log     []string               // lines of both, with times, and what else happened
	tap     func(line string) bool // takes lines of standard output away, if it is not nil
	changed chan struct{}
}

// start runs a program on a host. It is killed when the test ends, and its output is shown if the test has failed or
// RUNNEL_E2E_LOG is set.
func start(t *testing.T, h *netns.Host, name, path string, args ...string) *process {
	t.Helper()
	p := &process{t: t, name: name, start: time.Now(), done: make(chan struct{}), changed: make(chan struct{})}
	p.cmd = h.Command(t.Context(), path, args...)
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("starting %s: %v", name, err)
	}
	p.note("started: %s %s", path, strings.Join(args, " "))
	var outputs sync.WaitGroup
	outputs.Go(func() { p.collect(stdout, true) })
	outputs.Go(func() { p.collect(stderr, false) })
	go func() {
		outputs.Wait()
		_ = p.cmd.Wait()
		p.note("ended: %v", p.cmd.ProcessState)
		close(p.done)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() || os.Getenv("RUNNEL_E2E_LOG") != "" {
			p.show()
		}
	})
	return p
}

// collect takes over the lines of an output of the process.
func (p *process) collect(r io.Reader, stdout bool) {
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		p.mu.Lock()
		tap := p.tap
		p.mu.Unlock()
		if stdout && tap != nil && tap(s.Text()) {
			continue
		}
		p.mu.Lock()
		mark := ">"
		if stdout {
			p.out = append(p.out, s.Text())
		} else {
			p.errs = append(p.errs, s.Text())
			mark = " "
		}
		p.log = append(p.log, p.stamp()+mark+" "+s.Text())
		close(p.changed)
		p.changed = make(chan struct{})
		p.mu.Unlock()
	}
}

func (p *process) stamp() string { return fmt.Sprintf("%8.3f", time.Since(p.start).Seconds()) }

func (p *process) note(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.log = append(p.log, p.stamp()+"* "+fmt.Sprintf(format, args...))
}

// A mark is a place in the standard output of a process; the zero mark is its beginning.
type mark int

// mark is the present end of the output.
func (p *process) mark() mark {
	p.mu.Lock()
	defer p.mu.Unlock()
	return mark(len(p.out))
}

// expect waits for a line of standard output that matches the pattern, be it there already or to come, and returns what
// the pattern's groups have matched, the whole first.
func (p *process) expect(within time.Duration, pattern string) []string {
	p.t.Helper()
	return p.expectAfter(0, within, pattern)
}

// expectAfter is expect for lines after a mark.
func (p *process) expectAfter(m mark, within time.Duration, pattern string) []string {
	p.t.Helper()
	return p.await(&p.out, int(m), within, pattern)
}

// expectLog is expect for standard error, where the logs are. They are for what the program does not tell otherwise.
func (p *process) expectLog(within time.Duration, pattern string) []string {
	p.t.Helper()
	return p.await(&p.errs, 0, within, pattern)
}

// await waits for a line of an output, from a certain line on.
func (p *process) await(output *[]string, from int, within time.Duration, pattern string) []string {
	p.t.Helper()
	re := regexp.MustCompile(pattern)
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	for ended := false; ; {
		p.mu.Lock()
		lines, changed := *output, p.changed
		p.mu.Unlock()
		for ; from < len(lines); from++ {
			if groups := re.FindStringSubmatch(lines[from]); groups != nil {
				return groups
			}
		}
		if ended {
			p.t.Fatalf("%s has ended without a line that matches %q", p.name, pattern)
		}
		select {
		case <-changed:
		case <-p.done:
			ended = true // its last lines may have come in the same moment
		case <-deadline.C:
			p.t.Fatalf("%s has not printed a line that matches %q within %v", p.name, pattern, within)
		}
	}
}

// printed lists the lines of standard output after a mark that match the pattern.
func (p *process) printed(m mark, pattern string) []string {
	re := regexp.MustCompile(pattern)
	p.mu.Lock()
	defer p.mu.Unlock()
	var found []string
	for _, line := range p.out[m:] {
		if re.MatchString(line) {
			found = append(found, line)
		}
	}
	return found
}

// say writes a line to standard input.
func (p *process) say(line string) {
	p.t.Helper()
	p.note("< %s", line)
	if _, err := io.WriteString(p.stdin, line+"\n"); err != nil {
		p.t.Fatalf("writing to %s: %v", p.name, err)
	}
}

// stop asks the process to end and returns its exit code.
func (p *process) stop(within time.Duration) int {
	p.t.Helper()
	_ = p.cmd.Process.Signal(os.Interrupt)
	select {
	case <-p.done:
	case <-time.After(within):
		p.t.Fatalf("%s has not ended within %v of an interrupt", p.name, within)
	}
	return p.cmd.ProcessState.ExitCode()
}

// kill ends the process as the power going out does, and waits for its end.
func (p *process) kill() {
	select {
	case <-p.done:
		return
	default:
	}
	_ = p.cmd.Process.Signal(syscall.SIGKILL)
	<-p.done
}

// show logs all output, shortened in the middle when it is long.
func (p *process) show() {
	const head, tail = 60, 140
	p.mu.Lock()
	defer p.mu.Unlock()
	lines := p.log
	if cut := len(lines) - head - tail; cut > 0 {
		lines = append(append([]string{}, lines[:head]...), fmt.Sprintf("... %d lines left out ...", cut))
		lines = append(lines, p.log[len(p.log)-tail:]...)
	}
	p.t.Logf("output of %s (> standard output, < input, * events):\n%s", p.name, strings.Join(lines, "\n"))
}
