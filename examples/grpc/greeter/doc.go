// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

// Package greeter is a gRPC service.
//
// The Go files are generated from greeter.proto with protoc-gen-go and protoc-gen-go-grpc. A client and a server of it
// that talk between peers are in the directory above.
//
// # Limitations
//
// It can greet.
package greeter

//go:generate protoc --go_out=. --go_opt=paths=source_relative --go-grpc_out=. --go-grpc_opt=paths=source_relative greeter.proto
