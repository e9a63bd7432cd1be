// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"context"
	"fmt"
	"log"
	"net/netip"
	"time"

	"github.com/seed-98f0d4c2/runnel/peer"
)

// What a program makes of a bad network can be tried while it runs: here a phone drives into a tunnel and out of it.
func ExampleConditioner() {
	ctx := context.Background()
	var network peer.Conditioner
	e, err := peer.Listen(ctx, &peer.Config{
		Conditioner: &network,
		ListenAddr:  netip.MustParseAddrPort("127.0.0.1:0"),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer e.Close(ctx)

	// A mobile network: 30 to 50 ms each way, bursts of losses, 5 Mbit/s down and 1 Mbit/s up.
	mobile := peer.Conditions{Delay: 30 * time.Millisecond, Jitter: 20 * time.Millisecond, Loss: 0.01, Burst: 4, Seed: 1}
	up, down := mobile, mobile
	up.Bandwidth, down.Bandwidth = 1_000_000, 5_000_000
	network.SetSend(up)
	network.SetReceive(down)

	network.Set(peer.Conditions{Loss: 1}) // the tunnel
	network.Set(peer.Conditions{})        // the network as it is

	st := network.Stats()
	fmt.Printf("lost %d, dropped by a full queue %d\n", st.Send.Lost, st.Send.QueueFull)
	// Output: lost 0, dropped by a full queue 0
}
