// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package job

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// A Place is where a child runs.
type Place struct {
	Local netip.Addr
	Do    func(func() error) error // calls a function inside; nil is here
}

// Loopback is a place on this machine.
func Loopback() Place { return Place{Local: netip.AddrFrom4([4]byte{127, 0, 0, 1})} }

// ChildArg is the first argument with which this program starts itself as a child, which is to call Main.
const ChildArg = "child"

// An Outcome is what a pair of processes has measured.
type Outcome struct{ Server, Client *Result }

// A Pair is two connected processes.
type Pair struct {
	server, client *child
	spec           Spec
}

// A child is one of the two, as seen from the parent.
type child struct {
	name string
	cmd  *exec.Cmd
	in   io.WriteCloser
	*pipe
}

// Start starts a pair and returns when it is connected.
func Start(ctx context.Context, spec Spec, server, client Place) (*Pair, error) {
	p := &Pair{spec: spec}
	var err error
	if p.server, err = startChild(ctx, spec, true, server); err != nil {
		return nil, err
	}
	if p.client, err = startChild(ctx, spec, false, client); err != nil {
		p.Close()
		return nil, err
	}
	for _, ends := range [][2]*child{{p.server, p.client}, {p.client, p.server}} {
		go func() {
			for b := range ends[0].signals {
				_ = ends[1].Send(b) // a child that is gone needs no signals
			}
		}()
	}
	ctx, cancel := context.WithTimeout(ctx, connectTime+2*spec.Settle)
	defer cancel()
	for _, c := range []*child{p.client, p.server} {
		if _, err := c.await(ctx, kindReady); err != nil {
			p.Close()
			return nil, err
		}
	}
	return p, nil
}

func startChild(ctx context.Context, spec Spec, server bool, at Place) (*child, error) {
	spec.Server, spec.Local = server, at.Local
	name := spec.Transport + " client"
	if server {
		name = spec.Transport + " server"
	}
	cmd := exec.CommandContext(ctx, "/proc/self/exe", ChildArg)
	cmd.Args[0] = os.Args[0]
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	// Not StdoutPipe: Wait would close it under the reader.
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout = w
	do := at.Do
	if do == nil {
		do = fromSteadyThread
	}
	err = do(cmd.Start)
	_ = w.Close()
	if err != nil {
		_ = r.Close()
		return nil, fmt.Errorf("job: starting %s: %w", name, err)
	}
	c := &child{name: name, cmd: cmd, in: in, pipe: newPipe(r, in)}
	return c, c.send(message{Kind: kindSpec, Spec: &spec})
}

var steady = sync.OnceValue(func() chan func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range work {
			f()
		}
	}()
	return work
})

// fromSteadyThread calls f on a thread that lives as long as we do: Pdeathsig means the thread's death.
func fromSteadyThread(f func() error) error {
	err := make(chan error, 1)
	steady() <- func() { err <- f() }
	return <-err
}

// await waits for the child to say k.
func (c *child) await(ctx context.Context, k kind) (message, error) {
	select {
	case m, ok := <-c.control:
		switch {
		case !ok:
			return m, fmt.Errorf("%s: ended early", c.name)
		case m.Kind == kindFail:
			return m, fmt.Errorf("%s: %s", c.name, m.Error)
		case m.Kind != k:
			return m, fmt.Errorf("%s: said %q, want %q", c.name, m.Kind, k)
		}
		return m, nil
	case <-ctx.Done():
		return message{}, fmt.Errorf("%s: waiting for %q: %w", c.name, k, ctx.Err())
	}
}

// Run starts the client's sending and returns when its time is over.
func (p *Pair) Run(ctx context.Context) (*Outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, p.spec.WarmUp+p.spec.Duration+2*p.spec.Settle+connectTime)
	defer cancel()
	for _, c := range []*child{p.server, p.client} {
		if err := c.send(message{Kind: kindStart}); err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
	}
	done, err := p.client.await(ctx, kindDone)
	if err != nil {
		return nil, err
	}
	sent := *done.Result
	if err := p.server.send(message{Kind: kindStop, Sent: &sent}); err != nil {
		return nil, fmt.Errorf("%s: %w", p.server.name, err)
	}
	got, err := p.server.await(ctx, kindResult)
	if err != nil {
		return nil, err
	}
	if got.Result == nil || done.Result == nil {
		return nil, errors.New("job: a child reported nothing")
	}
	return &Outcome{Server: got.Result, Client: done.Result}, nil
}

// killTime is how long a child may take to notice that nobody wants it any more.
const killTime = 200 * time.Millisecond

// Close ends both processes and waits for them.
func (p *Pair) Close() {
	for _, c := range []*child{p.client, p.server} {
		if c == nil {
			continue
		}
		_ = c.in.Close()
		kill := time.AfterFunc(killTime, func() { _ = c.cmd.Process.Kill() })
		_ = c.cmd.Wait() // how it ended does not matter any more
		kill.Stop()
	}
}
