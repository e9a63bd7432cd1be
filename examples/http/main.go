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

const label = "http" // of the streams that carry HTTP

// flags are the command line.
type flags struct {
	node

	Serve serve `cmd:"" help:"Serve a directory to other peers."`
	Fetch fetch `cmd:"" help:"Fetch from a peer."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	var f flags
	command := kong.Parse(&f, kong.Name("http"), kong.Description("HTTP between peers named by their public keys."),
		kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(&f.node))
	command.FatalIfErrorf(command.Run())
}
