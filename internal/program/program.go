// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package program

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
)

// Exit codes.
const (
	ExitOK      = 0
	ExitRuntime = 1  // an error while running, or a shutdown cut short
	ExitUsage   = 2  // wrong flags
	ExitConfig  = 78 // EX_CONFIG of sysexits.h: flags that make no sense together
)

// Flags are a command line: a pointer to a struct whose fields and tags are kong's.
type Flags interface {
	// Logging is called once the flags are parsed.
	Logging() Logging

	// Service checks what one flag alone cannot tell, before any socket is open.
	Service(log *slog.Logger) (Service, error)
}

// A Service is what the flags of a program come to.
type Service interface {
	// Serve opens sockets and serves until a signal comes, or something fails.
	Serve(p *Process) error
}

// A Program is one server program, without the process around it.
type Program struct {
	// Name is that of the executable. Flags may be given in the environment as RUNNEL_NAME_FLAG, in upper case.
	Name string

	// Description is the sentence that --help opens with.
	Description string

	// Stdout gets what other programs read, Stderr the log.
	Stdout, Stderr io.Writer

	// Signals ask to shut down, and then to be quick about it. See [Signals].
	Signals <-chan os.Signal
}

// Signals returns a channel of the signals that end a program.
func Signals() <-chan os.Signal {
	c := make(chan os.Signal, 2)
	signal.Notify(c, os.Interrupt, syscall.SIGTERM)
	return c
}

// Run parses args into f and serves. It blocks until the program has ended, and returns its exit code.
func (p *Program) Run(args []string, f Flags) int {
	if code, ok := p.parse(args, f); !ok {
		return code
	}
	log := f.Logging().logger(p.Stderr)
	s, err := f.Service(log)
	if err != nil {
		fmt.Fprintf(p.Stderr, "%s: %v\n", p.Name, err)
		return ExitConfig
	}
	if err := s.Serve(&Process{Log: log, stdout: p.Stdout, signals: p.Signals}); err != nil {
		log.Error("ended", slog.Any("error", err))
		return ExitRuntime
	}
	return ExitOK
}

// parse fills in f. If there is nothing to run it returns the exit code and false.
func (p *Program) parse(args []string, f Flags) (code int, ok bool) {
	exited := -1
	parser, err := kong.New(f,
		kong.Name(p.Name),
		kong.Description(p.Description),
		kong.DefaultEnvars("RUNNEL_"+strings.ToUpper(p.Name)),
		kong.Vars{"version": Version()},
		kong.Writers(p.Stdout, p.Stderr),
		kong.Exit(func(code int) { exited = code }),
	)
	if err != nil {
		fmt.Fprintf(p.Stderr, "%s: %v\n", p.Name, err)
		return ExitRuntime, false
	}
	_, err = parser.Parse(args)
	switch {
	case exited >= 0: // help or version
		return exited, false
	case err != nil:
		fmt.Fprintf(p.Stderr, "%s: %v\nRun %s --help for the flags.\n", p.Name, err, p.Name)
		return ExitUsage, false
	}
	return ExitOK, true
}
