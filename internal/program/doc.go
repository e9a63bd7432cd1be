// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

// Package program is what the server programs have in common: the command line, the log, exit codes, signals, a
// certificate that is renewed on disk, secrets in files, and the endpoints for supervisors and scrapers.
//
// A program brings its flags, and what they come to:
//
//	func (f *flags) Logging() program.Logging { return program.Logging{Format: f.LogFormat, Level: f.LogLevel, Dev: f.Dev} }
//
//	func (f *flags) Service(log *slog.Logger) (program.Service, error) { ... } // checks; opens nothing
//
//	func (c *config) Serve(p *program.Process) error {
//		... // open sockets, start serving
//		p.Print("listening ...\n")
//		if signaled, err := p.Wait(failed); !signaled {
//			return err
//		}
//		ctx, stop := p.Grace(c.shutdown, errLate, errCut) // a second signal ends it
//		defer stop()
//		return server.Shutdown(ctx)
//	}
//
//	func main() {
//		p := &program.Program{Name: "relay", Description: "...", Stdout: os.Stdout, Stderr: os.Stderr, Signals: program.Signals()}
//		os.Exit(p.Run(os.Args[1:], new(flags)))
//	}
//
// # Limitations
//
//   - The level of the log is fixed while the program runs, and SIGHUP, which is not handled, ends it without a shutdown: only
//     certificates are read again.
//   - A certificate is looked at when a client connects, so a program that nobody connects to reports the old one's end.
//   - HTTP is version 1 only, which is what WebSocket upgrades and scrapers need.
package program
