// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/seed-98f0d4c2/runnel/examples/grpc/greeter"
)

// greet is the command that calls the greeter.
type greet struct {
	Peer    string        `arg:"" help:"Who serves: ID or ID@host:port."`
	Names   []string      `arg:"" help:"Whom to greet."`
	Timeout time.Duration `help:"Give up after so long." default:"1m"`
}

// Run greets the first name in a call of its own, and then all of them on a stream.
func (c *greet) Run(ctx context.Context, n *node) error {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	ep, err := n.start(ctx)
	if err != nil {
		return err
	}
	defer stop(ep)
	id, err := reach(ctx, ep, c.Peer)
	if err != nil {
		return err
	}
	conn, err := grpc.NewClient("passthrough:///"+id.String(), // the address of a server is the ID of a peer
		grpc.WithContextDialer(ep.Dialer(label).Dial),
		grpc.WithTransportCredentials(insecure.NewCredentials())) // the session is what is secure
	if err != nil {
		return err
	}
	defer conn.Close()
	client := greeter.NewGreeterClient(conn)

	resp, err := client.Greet(ctx, &greeter.GreetRequest{Name: c.Names[0]})
	if err != nil {
		return err
	}
	fmt.Printf("%s, says the greeter to %s\n", resp.GetText(), resp.GetPeer())

	stream, err := client.Chat(ctx)
	if err != nil {
		return err
	}
	for _, name := range c.Names {
		if err := stream.Send(&greeter.GreetRequest{Name: name}); err != nil {
			return err
		}
		resp, err := stream.Recv()
		if err != nil {
			return err
		}
		fmt.Println(resp.GetText())
	}
	return stream.CloseSend()
}
