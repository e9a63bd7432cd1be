// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

// Command chat is a chat among peers that are named by their public keys: everybody talks to everybody they have added or
// were added by, and sends files.
//
//	chat --rendezvous wss://rendezvous.example/v1 --nick alice
//
// prints this peer's ID. Whoever knows it types "/add ID", and from then on every line goes to all peers; "/help" lists the
// commands. Without a rendezvous a peer is found on the local network, with --lan on both sides, or added with its address,
// "/add ID@host:port". Every flag may be given as an environment variable, RUNNEL_CHAT_ and its name in upper case.
//
// # Piped
//
// When standard input or output is no terminal, chat reads lines and commands from the one and writes plain lines to the
// other, made for programs. At the end of the input it waits until everything is delivered and quits, unless --stay is
// given. These lines are stable; further words may be added at their ends:
//
//	< NICK: TEXT                                                  a peer says something
//	* id ID                                                       who we are, first of all
//	* address ADDR                                                where we may be dialled with no rendezvous, if there is none
//	* online URL                                                  registered at the rendezvous
//	* offline: REASON                                             the registration is lost for good
//	* added ID                                                    /add has been understood
//	* ready ID NICK path=direct rtt=1.2ms addr=HOST:PORT          in session with a peer
//	* path NICK relayed direct addr=HOST:PORT why="..." gap=1.2s  packets to the peer travel another way: from, to; and how
//	                                                              long nothing had come by the old one
//	* degraded NICK direct addr=HOST:PORT why="..."               the path has become bad; another is looked for
//	* stalled NICK why="..."                                      no path answers; what is said waits
//	* resumed NICK direct addr=HOST:PORT gap=5.1s                 the session goes on, after so long
//	* ended ID NICK: REASON                                       the session is over
//	* unreachable ID: REASON                                      a peer that was added cannot be reached (now)
//	* delivered N                                                 our N-th line has reached everybody it was for
//	* undelivered N NICK: REASON                                  it has not reached this one
//	* file sending NAME 45% rate=12.3MB/s to=NICK                 at most once a second; also "file receiving ... from=NICK"
//	* file sent NAME SIZE sha256=HEX rate=12.3MB/s to=NICK        the receiver has confirmed the hash
//	* file received PATH SIZE sha256=HEX rate=12.3MB/s from=NICK  complete, checked and on disk
//	* file failed NAME: REASON to=NICK                            or from=NICK
//	* error TEXT                                                  the command before made no sense
//
// /path answers with three lines for each peer: "* path-now NICK direct addr=... rtt=... ...", "* path-bytes NICK ..." and
// "* path-timeline NICK start=0s offer=1ms ...". /why answers with "* why NICK" and lines for people, which are indented.
//
// # Protocol
//
// Flow "chat" carries JSON objects, {"nick":"alice"} first and then {"text":"hello"}. Each file is a flow "file" whose
// metadata is {"name":"a.txt","size":5}; its messages are the content in order, and a last one of 32 bytes with the SHA-256
// of it. The receiver answers on a return flow with {"ok":true} once the file is on disk and its hash is right, or
// {"error":"..."}.
//
// Limitations: there is no history and no group: a line goes to the peers of the one who types it, whatever others they
// have. A line that was under way when a session broke is reported as undelivered, although it may have arrived.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const (
	exitOK      = 0
	exitRuntime = 1
	exitUsage   = 2

	closeTime = 5 * time.Second // for saying goodbye
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is main without the process around it. It returns the exit code.
func run(ctx context.Context, args []string, stdin, stdout *os.File, stderr io.Writer) int {
	f, code := parseFlags(args, stdout, stderr)
	if f == nil {
		return code
	}
	in, out, restore, err := openConsole(stdin, stdout)
	if err != nil {
		fmt.Fprintln(stderr, "chat:", err)
		return exitRuntime
	}
	err = session(ctx, f, in, out, stderr)
	restore()
	if err != nil {
		fmt.Fprintln(stderr, "chat:", err)
		return exitRuntime
	}
	return exitOK
}

// session is the program between opening and restoring the console.
func session(ctx context.Context, f *flags, in lineReader, out *screen, stderr io.Writer) error {
	c := newChat(out, f.Nick, f.Dir, f.MaxFile<<20)
	c.acceptAny = f.AcceptFrom == "any"
	if err := f.listen(ctx, c, newLog(f.LogLevel, out, stderr)); err != nil {
		return err
	}
	c.start()
	defer c.close()
	for _, a := range f.Add {
		c.handle(ctx, "/add "+a)
	}
	return c.serve(ctx, in, f.Stay || out.human)
}

// serve carries out what is typed until it is told to quit. stay says whether the end of the input is no reason to wait
// for what is under way, be it that a person has ended it or that others may still have something to say.
func (c *chat) serve(ctx context.Context, in lineReader, stay bool) error {
	lines := make(chan string)
	ended := make(chan error, 1)
	go func() { // ends with the process: a read of standard input cannot be called off
		for {
			line, err := in.ReadLine()
			if err != nil {
				ended <- err
				return
			}
			select {
			case lines <- line:
			case <-ctx.Done():
				return
			}
		}
	}()
	for {
		select {
		case line := <-lines:
			if c.handle(ctx, line) {
				c.settle(ctx, closeTime)
				return nil
			}
		case err := <-ended:
			if !errors.Is(err, io.EOF) {
				return err
			}
			switch {
			case c.out.human:
				return nil
			case stay:
				<-ctx.Done()
			default:
				c.settle(ctx, 0)
			}
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}
