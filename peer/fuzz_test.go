// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"context"
	"net/netip"
	"testing"

	"github.com/seed-98f0d4c2/runnel/peer"
)

// FuzzDatagram gives an endpoint whatever may arrive at its socket. It must neither panic nor remember anything, and
// must not answer with more than it got.
func FuzzDatagram(f *testing.F) {
	f.Add([]byte{})
	f.Add(mustHex("000100002112a442000102030405060708090a0b"))                         // STUN binding request
	f.Add(mustHex("0101000c2112a442000102030405060708090a0b002000080001a147e112a643")) // response
	f.Add(mustHex("4000000501020304050000000000000000"))                               // TURN channel data
	f.Add(mustHex("16fefd0000000000000000000c010000000000000000000000"))               // bare DTLS
	f.Add(mustHex("c1010203040506070812342d21bc36b3a2e089e5bb53fc7782810846c91d8640")) // protected packet
	f.Add(append(mustHex("e001020304050607080004"), 1, 2, 3, 4))                       // handshake packet
	f.Add(append(mustHex("e101"), make([]byte, 126)...))                               // Init
	f.Add(append(mustHex("e201"), make([]byte, 40)...))                                // Retry
	f.Add(append(mustHex("e301"), make([]byte, 600)...))                               // Open
	f.Add(append(mustHex("e401"), make([]byte, 600)...))                               // Answer
	sink := &sinkNetwork{}
	e, err := peer.Listen(context.Background(), &peer.Config{Network: sink})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = e.Close(context.Background()) })
	from := netip.MustParseAddrPort("5.1.2.3:4567")
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 2048 {
			return
		}
		tagged := append([]byte(nil), b...)
		if len(tagged) >= 34 && tagged[0] == 0xe1 {
			tagInit(tagged, e.ID())
		}
		sink.deliver(b, from)
		sink.deliver(tagged, from)
		if out, in := sink.bytesOut.Load(), sink.bytesIn.Load(); out > in {
			t.Errorf("%d bytes in made %d bytes out", in, out)
		}
		if peers, sessions, attempts, inbound, routes := e.Sizes(); peers+sessions+attempts+inbound+routes != 0 {
			t.Errorf("left behind: %d, %d, %d, %d, %d", peers, sessions, attempts, inbound, routes)
		}
	})
}
