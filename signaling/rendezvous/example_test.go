// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package rendezvous_test

import (
	"context"
	"fmt"
	"log"
	"net/http/httptest"
	"strings"

	"github.com/seed-98f0d4c2/runnel/signaling"
	"github.com/seed-98f0d4c2/runnel/signaling/rendezvous"
)

// A rendezvous inside a program of one's own, and two peers that register there.
func Example() {
	ctx := context.Background()
	srv, err := rendezvous.New(&rendezvous.Config{Name: "127.0.0.1"})
	if err != nil {
		log.Fatal(err)
	}
	web := httptest.NewServer(srv)
	defer web.Close()
	defer srv.Shutdown(ctx)

	register := func() *signaling.Client {
		key, err := signaling.GenerateKey()
		if err != nil {
			log.Fatal(err)
		}
		c, err := signaling.NewClient(strings.Replace(web.URL, "http", "ws", 1), key, nil)
		if err != nil {
			log.Fatal(err)
		}
		if _, err := c.Services(ctx); err != nil { // waits until registered
			log.Fatal(err)
		}
		return c
	}
	alice, bob := register(), register()
	defer alice.Close()
	defer bob.Close()
	key, err := signaling.GenerateKey()
	if err != nil {
		log.Fatal(err)
	}
	carol := signaling.IDFromKey(key) // never registers

	online, err := alice.Online(ctx, bob.ID())
	fmt.Println("bob is online:", online, err)
	online, err = alice.Online(ctx, carol)
	fmt.Println("carol is online:", online, err)
	// Output:
	// bob is online: true <nil>
	// carol is online: false <nil>
}
