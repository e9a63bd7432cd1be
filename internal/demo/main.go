// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

// Demo shows Runnel at work on this machine, with the real programs:
//
//	go run ./internal/demo [--relay] [--size MIB] [--logs]
//	go run -tags e2e ./internal/demo --mobility [--logs]
//
// It builds rendezvous, relay and the chat example, starts one of each server and two chats, alice and bob, has them find
// each other by nothing but their IDs, talk, and send a file, and compares the files on disk. With --relay the chats tell
// nobody their addresses and everything goes through the relay.
//
// With --mobility everything runs in network namespaces, which takes Linux and root: bob behind a home router, alice behind
// two others, one for her Wi-Fi and one for her cable. While both count aloud, fifty lines a second each, and a file is on
// its way, her network changes and fails; every line must arrive once, in the session they began with.
//
// It exits with 0 if all went well. If not, it says what was missing and prints what every program has said. Either way,
// and when it is interrupted, no process and no file is left behind.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"golang.org/x/term"
)

const (
	buildTime = 10 * time.Minute // a first build compiles every dependency
	showTime  = 50 * time.Second // for everything after
)

func main() {
	relayed := flag.Bool("relay", false, "let the peers talk through the relay only")
	size := flag.Int("size", 8, "size of the file to send, in MiB")
	mobile := flag.Bool("mobility", false, "let a peer change networks, on an internet of network namespaces")
	logs := flag.Bool("logs", false, "print what every program has said although all went well")
	flag.Parse()
	if flag.NArg() > 0 || *size < 1 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	colour := term.IsTerminal(int(os.Stdout.Fd())) && os.Getenv("NO_COLOR") == ""
	d := &demo{page: &page{w: os.Stdout, colour: colour}, relayed: *relayed, size: *size << 20}
	err := d.run(ctx, *mobile)
	interrupted := ctx.Err() != nil
	stop()
	var skip skipped
	switch {
	case errors.As(err, &skip):
		fmt.Println(skip)
	case interrupted:
		fmt.Fprintln(os.Stderr, "demo: interrupted")
		os.Exit(130)
	case err != nil:
		d.printLogs(os.Stderr)
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	case *logs:
		d.printLogs(os.Stdout)
	}
}

// A demo is one performance.
type demo struct {
	*page
	relayed bool
	size    int // of the file, in bytes

	dir       string
	processes []*process // in the order they were started
	cleanups  []func()   // called when those have ended, the last one first
}

// skipped is why nothing can be shown here. It is no failure.
type skipped string

func (s skipped) Error() string { return string(s) }

// run performs, and cleans up whatever happens.
func (d *demo) run(ctx context.Context, mobile bool) (err error) {
	if d.dir, err = os.MkdirTemp("", "runnel-demo-"); err != nil {
		return err
	}
	defer func() {
		for _, p := range slices.Backward(d.processes) { // clients before servers
			p.end()
		}
		for _, f := range slices.Backward(d.cleanups) {
			f()
		}
		err = errors.Join(err, os.RemoveAll(d.dir))
	}()
	if mobile {
		return d.roam(ctx)
	}

	d.title("Runnel: two peers, a rendezvous and a relay on this machine")
	if err := d.build(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, showTime)
	defer cancel()
	here := place{exec.CommandContext, "127.0.0.1"}
	rendezvous, err := d.startServers(ctx, here, here)
	if err != nil {
		return err
	}
	alice, bob, err := d.startPeers(ctx, rendezvous)
	if err != nil {
		return err
	}
	for _, act := range []func(context.Context, *talker, *talker) error{d.meet, d.talk, d.sendFile, d.showPaths, d.part} {
		if err := act(ctx, alice, bob); err != nil {
			return err
		}
	}
	return d.stopServers(ctx)
}
