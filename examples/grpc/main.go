// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
)

const (
	exitOK      = 0
	exitRuntime = 1
	exitUsage   = 2

	label     = "grpc"          // of the streams that carry gRPC
	closeTime = 5 * time.Second // for saying goodbye
)

// flags are the command line.
type flags struct {
	node

	Serve serve `cmd:"" help:"Serve the greeter."`
	Greet greet `cmd:"" help:"Greet a peer."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is main without the process around it. It returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var f flags
	exited := -1
	parser, err := kong.New(&f, kong.Name("grpc"), kong.Description("gRPC between peers named by their public keys."),
		kong.Writers(stdout, stderr), kong.Exit(func(code int) { exited = code }))
	if err != nil {
		fmt.Fprintln(stderr, "grpc:", err)
		return exitRuntime
	}
	command, err := parser.Parse(args)
	switch {
	case exited >= 0:
		return exited
	case err != nil:
		fmt.Fprintln(stderr, "grpc:", err)
		return exitUsage
	}
	if command.Selected().Name == "serve" {
		err = f.Serve.run(ctx, &f.node, stdout)
	} else {
		err = f.Greet.run(ctx, &f.node, stdout)
	}
	if err != nil {
		fmt.Fprintln(stderr, "grpc:", err)
		return exitRuntime
	}
	return exitOK
}
