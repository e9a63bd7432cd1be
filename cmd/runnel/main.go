// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

// Command runnel finds out what is wrong between two peers, or with the network of one.
//
//	runnel doctor --rendezvous wss://rendezvous.example/v1     what this network lets through, check by check
//	runnel why ID --rendezvous wss://rendezvous.example/v1     dial a peer, and say why the path is what it is
//	runnel ping ID --rendezvous wss://rendezvous.example/v1    round trips and changes of the path, as they happen
//	runnel keygen FILE                                         make an identity
//	runnel id FILE                                             print the ID of one
//
// A peer is given as ID, or as ID@host:port to be dialled there with no rendezvous; --lan finds it on the local network. Every
// flag may be given as an environment variable, RUNNEL_ and its name in upper case. doctor and why have --json.
//
// why exits with 0 if the path is direct, 3 if it is relayed, 1 if there is none; doctor with 0 if all is well, 3 if something
// could be better, 1 if something fails; ping with 0 if anything was answered, else 1. 2 means wrong flags.
//
// Without --key, an identity is made for each run. The key of a program that is running must not be given: only one of two
// with the same identity stays registered at the rendezvous.
//
// Limitations: doctor cannot see a firewall that lets its own test pass but not a peer's packets, nor whether ECN marks
// survive, which why says of a session; it judges the way to the relay by packets that go there, not by those that come back;
// and it has no second relay to send from, so that filtering is judged by what the first one sends.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/seed-98f0d4c2/runnel/internal/program"
)

// Exit codes beside those of package program.
const exitWarn = 3 // relayed, or something to mend

// cli is the command line. The help texts are the documentation of record.
type cli struct {
	Why    whyCmd    `cmd:"" help:"Dial a peer, and say why the path to it is what it is, and what would help."`
	Doctor doctorCmd `cmd:"" help:"Say what this host's network lets through, and what to do about what it does not."`
	Ping   pingCmd   `cmd:"" help:"Measure round trips to a peer, and show changes of the path as they happen."`
	Keygen keygenCmd `cmd:"" help:"Make an identity, and print its ID."`
	ID     idCmd     `cmd:"" name:"id" help:"Print the ID of an identity."`

	Version kong.VersionFlag `help:"Print the version and exit."`
}

// A console is where a command writes.
type console struct{ stdout, stderr io.Writer }

// exitError ends a command whose output has said everything.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is main without the process around it. It returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	exited := -1
	parser, err := kong.New(new(cli),
		kong.Name("runnel"),
		kong.Description("Finds out what is wrong between two peers, or with the network of one."),
		kong.DefaultEnvars("RUNNEL"),
		kong.Vars{"version": program.Version()},
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { exited = code }),
	)
	if err != nil {
		fmt.Fprintln(stderr, "runnel:", err)
		return program.ExitRuntime
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	k, err := parser.Parse(args)
	switch {
	case exited >= 0: // help or version
		return exited
	case err != nil:
		fmt.Fprintf(stderr, "runnel: %v\nRun runnel --help for the commands.\n", err)
		return program.ExitUsage
	}
	k.BindTo(ctx, (*context.Context)(nil))
	err = k.Run(&console{stdout, stderr})
	var exit exitError
	switch {
	case err == nil:
		return program.ExitOK
	case errors.As(err, &exit):
		return int(exit)
	}
	fmt.Fprintln(stderr, "runnel:", err)
	return program.ExitRuntime
}
