// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/seed-98f0d4c2/runnel/examples/grpc/greeter"
)

// serve is the command that serves the greeter.
type serve struct{}

// Run serves until ctx ends.
func (c *serve) Run(ctx context.Context, n *node) error {
	ep, err := n.start(ctx)
	if err != nil {
		return err
	}
	defer stop(ep)
	l, err := ep.Listener(label) // streams of any peer
	if err != nil {
		return err
	}
	srv := grpc.NewServer()
	greeter.RegisterGreeterServer(srv, &service{})
	context.AfterFunc(ctx, srv.Stop)

	fmt.Println("serving", ep.ID())
	for _, addr := range ep.LocalAddrs() {
		fmt.Printf("address %s@%s\n", ep.ID(), addr)
	}
	if err := srv.Serve(l); ctx.Err() == nil {
		return err
	}
	return nil
}

// A service is the greeter.
type service struct {
	greeter.UnimplementedGreeterServer
}

func (*service) Greet(ctx context.Context, req *greeter.GreetRequest) (*greeter.GreetResponse, error) {
	if req.GetName() == "" {
		return nil, status.Error(codes.InvalidArgument, "nobody to greet")
	}
	caller, _ := peer.FromContext(ctx)
	return &greeter.GreetResponse{Text: "hello " + req.GetName(), Peer: caller.Addr.String()}, nil
}

func (s *service) Chat(stream grpc.BidiStreamingServer[greeter.GreetRequest, greeter.GreetResponse]) error {
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		resp, err := s.Greet(stream.Context(), req)
		if err != nil {
			return err
		}
		if err := stream.Send(resp); err != nil {
			return err
		}
	}
}
