// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"context"
	"fmt"
	"log"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/seed-98f0d4c2/runnel/flow"
	"github.com/seed-98f0d4c2/runnel/peer"
)

// Hooks tell of what happens in a session. They run in the midst of its work: they note, and leave.
func ExampleTrace() {
	ctx := context.Background()
	addr := netip.MustParseAddrPort("127.0.0.1:0")
	quiet, err := peer.Listen(ctx, &peer.Config{ListenAddr: addr})
	if err != nil {
		log.Fatal(err)
	}
	defer quiet.Close(ctx)

	opened := make(chan string, 10)
	watched, err := peer.Listen(ctx, &peer.Config{ListenAddr: addr, Trace: func(peer.SessionInfo) *peer.Trace {
		return &peer.Trace{Flow: flow.Trace{FlowOpened: func(e flow.Opened) {
			select {
			case opened <- e.Label:
			default: // rather miss one than keep the session waiting
			}
		}}}
	}})
	if err != nil {
		log.Fatal(err)
	}
	defer watched.Close(ctx)

	s, err := quiet.DialTarget(ctx, peer.Target{ID: watched.ID(), Addrs: watched.LocalAddrs()})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := s.OpenStream("hello"); err != nil {
		log.Fatal(err)
	}
	fmt.Println(<-opened)
	// Output: hello
}

// The events of each session go to a file of its own, for the tools that show qlog.
func ExampleEventLogDir() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "events")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	addr := netip.MustParseAddrPort("127.0.0.1:0")
	listener, err := peer.Listen(ctx, &peer.Config{ListenAddr: addr, EventLog: peer.EventLogDir(dir)})
	if err != nil {
		log.Fatal(err)
	}
	dialler, err := peer.Listen(ctx, &peer.Config{ListenAddr: addr})
	if err != nil {
		log.Fatal(err)
	}
	defer dialler.Close(ctx)
	s, err := dialler.DialTarget(ctx, peer.Target{ID: listener.ID(), Addrs: listener.LocalAddrs()})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := listener.Accept(ctx); err != nil { // established at both ends
		log.Fatal(err)
	}
	if err := s.Close(ctx); err != nil {
		log.Fatal(err)
	}
	listener.Close(ctx) // waits for the files
	files, err := filepath.Glob(filepath.Join(dir, "*_"+dialler.ID().Short()+"_server.sqlog"))
	fmt.Println(len(files), err)
	// Output: 1 <nil>
}
