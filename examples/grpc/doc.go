// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

// Grpc runs a gRPC service between peers named by their public keys. It is a module of its own, so that who uses
// Runnel need not have gRPC.
//
//	grpc serve --rendezvous URL                  prints its ID
//	grpc greet --rendezvous URL ID Ada Grace     from anywhere: greets, once in a call of its own and then each name on
//	                                             a stream
//
// Without a rendezvous a peer is named by its ID and an address of it, which serve prints:
//
//	grpc serve --loopback                        on this machine
//	grpc greet --loopback ID@127.0.0.1:PORT Ada Grace
//
// The whole of the adaptation is a listener and a dialler, in serve.go and greet.go. gRPC's own transport security is
// left out: a session is encrypted and has proven who the peer is.
//
// # Limitations
//
// Whoever knows the ID may call; a real server decides by [peer.Config.Authorize], or by the ID that it finds as the
// address of the peer in the context of each call.
package main
