// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package signaling_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"strings"

	"github.com/seed-98f0d4c2/runnel/signaling"
	"github.com/seed-98f0d4c2/runnel/signaling/rendezvous"
)

// Two peers of one process, without any network.
func ExampleHub() {
	alice, _ := signaling.GenerateKey()
	bob, _ := signaling.GenerateKey()
	var hub signaling.Hub
	a, b := hub.Join(signaling.IDFromKey(alice)), hub.Join(signaling.IDFromKey(bob))
	defer a.Close()
	defer b.Close()

	ctx := context.Background()
	payload, err := signaling.Seal(alice, signaling.IDFromKey(bob), &signaling.Message{
		Kind:    signaling.KindBye,
		Attempt: [16]byte{1},
		Reason:  "so long",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := a.Send(ctx, signaling.IDFromKey(bob), payload); err != nil {
		fmt.Println(err)
		return
	}
	e, err := b.Recv(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	from, m, err := signaling.Open(bob, e.Payload)
	fmt.Println(from == signaling.IDFromKey(alice), m.Kind, m.Reason, err)
	// Output: true bye so long <nil>
}

// Two peers that are introduced by a rendezvous server, which would be somewhere else.
func ExampleClient() {
	server, err := rendezvous.New(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	web := httptest.NewServer(server)
	defer web.Close()
	url := "ws" + strings.TrimPrefix(web.URL, "http")

	ctx := context.Background()
	alice, _ := signaling.GenerateKey()
	bob, _ := signaling.GenerateKey()
	a, err := signaling.NewClient(url, alice, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer a.Close()
	b, err := signaling.NewClient(url, bob, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer b.Close()
	if _, err := b.Services(ctx); err != nil { // waits for the registration
		fmt.Println(err)
		return
	}

	if err := a.Send(ctx, b.ID(), []byte("sealed, most often")); err != nil {
		fmt.Println(err)
		return
	}
	e, err := b.Recv(ctx)
	fmt.Println(string(e.Payload), err)

	nobody, _ := signaling.GenerateKey()
	fmt.Println(a.Send(ctx, signaling.IDFromKey(nobody), nil))
	// Output:
	// sealed, most often <nil>
	// signaling: peer not found
}
