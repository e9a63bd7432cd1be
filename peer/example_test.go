// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/netip"

	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/signaling"
)

// exampleEndpoint starts an endpoint on loopback that is introduced by an in-memory hub.
func exampleEndpoint(ctx context.Context, hub *signaling.Hub) *peer.Endpoint {
	key, err := signaling.GenerateKey()
	if err != nil {
		log.Fatal(err)
	}
	e, err := peer.Listen(ctx, &peer.Config{
		Key:        key,
		Signaler:   hub.Join(signaling.IDFromKey(key)),
		ListenAddr: netip.MustParseAddrPort("127.0.0.1:0"),
		Loopback:   true,
	})
	if err != nil {
		log.Fatal(err)
	}
	return e
}

// Two peers in one process: one dials the other by its ID and sends it a message.
func Example() {
	ctx := context.Background()
	var hub signaling.Hub
	alice, bob := exampleEndpoint(ctx, &hub), exampleEndpoint(ctx, &hub)
	defer alice.Close(ctx)
	defer bob.Close(ctx)

	received := make(chan string)
	go func() {
		s, err := bob.Accept(ctx)
		if err != nil {
			log.Fatal(err)
		}
		f, err := s.AcceptFlow(ctx)
		if err != nil {
			log.Fatal(err)
		}
		m, err := f.Recv(ctx)
		if err != nil {
			log.Fatal(err)
		}
		received <- fmt.Sprintf("%s: %s", f.Label(), m.Data)
	}()

	s, err := alice.Dial(ctx, bob.ID())
	if err != nil {
		log.Fatal(err)
	}
	f, err := s.OpenFlow("greetings", nil)
	if err != nil {
		log.Fatal(err)
	}
	receipt, err := f.Send(ctx, []byte("hello"))
	if err != nil {
		log.Fatal(err)
	}
	if err := receipt.Wait(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println(<-received)
	// Output: greetings: hello
}

// A stream is a net.Conn between two peers.
func ExampleSession_OpenStream() {
	ctx := context.Background()
	var hub signaling.Hub
	alice, bob := exampleEndpoint(ctx, &hub), exampleEndpoint(ctx, &hub)
	defer alice.Close(ctx)
	defer bob.Close(ctx)

	go func() {
		s, err := bob.Accept(ctx)
		if err != nil {
			log.Fatal(err)
		}
		c, err := s.AcceptStream(ctx)
		if err != nil {
			log.Fatal(err)
		}
		defer c.Close()
		if _, err := io.Copy(c, c); err != nil { // echo
			log.Print(err)
		}
	}()

	s, err := alice.Dial(ctx, bob.ID())
	if err != nil {
		log.Fatal(err)
	}
	c, err := s.OpenStream("echo")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprint(c, "there and back")
	if err := c.CloseWrite(); err != nil {
		log.Fatal(err)
	}
	all, err := io.ReadAll(c)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", all)
	// Output: there and back
}

// A peer whose address is known is dialled with no rendezvous at all.
func ExampleEndpoint_DialTarget() {
	ctx := context.Background()
	addr := netip.MustParseAddrPort("127.0.0.1:0")
	listener, err := peer.Listen(ctx, &peer.Config{ListenAddr: addr})
	if err != nil {
		log.Fatal(err)
	}
	defer listener.Close(ctx)
	dialler, err := peer.Listen(ctx, &peer.Config{ListenAddr: addr})
	if err != nil {
		log.Fatal(err)
	}
	defer dialler.Close(ctx)

	s, err := dialler.DialTarget(ctx, peer.Target{ID: listener.ID(), Addrs: listener.LocalAddrs()})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(s.Peer() == listener.ID())
	// Output: true
}
