// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package dtlsx_test

import (
	"context"
	"fmt"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/pionx/dtlsx"
)

// Two peers in one process, whose network is a function call.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	alice, _ := dtlsx.NewIdentity()
	bob, _ := dtlsx.NewIdentity()

	toClient, toServer := make(chan []byte, 16), make(chan []byte, 16)
	send := func(to chan []byte) func([]byte) {
		return func(b []byte) {
			select {
			case to <- append([]byte(nil), b...):
			default: // a network may lose what it likes
			}
		}
	}
	client := dtlsx.Start(ctx, &dtlsx.Config{Identity: alice, Client: true, RemoteFingerprint: bob.Fingerprint(), Write: send(toServer)})
	defer client.Close()
	server := dtlsx.Start(ctx, &dtlsx.Config{Identity: bob, RemoteFingerprint: alice.Fingerprint(), Write: send(toClient)})
	defer server.Close()

	go func() {
		for {
			select {
			case b := <-toServer:
				server.Deliver(b)
			case b := <-toClient:
				client.Deliver(b)
			case <-ctx.Done():
				return
			}
		}
	}()
	<-client.Done()
	<-server.Done()
	fmt.Println(client.Err(), server.Err(), client.Exporter() == server.Exporter())
	// Output: <nil> <nil> true
}
