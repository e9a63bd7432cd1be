// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

const label = "grpc" // of the streams that carry gRPC

// flags are the command line.
type flags struct {
	node

	Serve serve `cmd:"" help:"Serve the greeter."`
	Greet greet `cmd:"" help:"Greet a peer."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	var f flags
	command := kong.Parse(&f, kong.Name("grpc"), kong.Description("gRPC between peers named by their public keys."),
		kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(&f.node))
	command.FatalIfErrorf(command.Run())
}
