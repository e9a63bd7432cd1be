// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

// Package signaling introduces peers to each other: before two peers have a connection they need somebody whom both can
// reach, to carry an offer there and an answer back.
//
//	key, err := signaling.LoadOrCreateKey("peer.key")
//	if err != nil {
//		return err
//	}
//	c, err := signaling.NewClient("wss://rendezvous.example", key, nil)
//	if err != nil {
//		return err
//	}
//	defer c.Close()
//
//	payload, err := signaling.Seal(key, to, &signaling.Message{Kind: signaling.KindBye, Attempt: attempt})
//	if err != nil {
//		return err
//	}
//	if err := c.Send(ctx, to, payload); errors.Is(err, signaling.ErrNotFound) {
//		fmt.Println("offline")
//	}
//
// Package peer does all this by itself; it wants a [Signaler].
//
// # Identity
//
// A [PeerID] is an Ed25519 public key. Having it is enough to reach the peer, to verify it, and to seal a message to it.
// Keys are kept in files by [SaveKey] and [LoadKey].
//
// # Planes
//
// [Client] talks to a rendezvous server, whose other end is package signaling/rendezvous. [Hub] is in memory, for tests and
// examples; it works in virtual time.
//
// # What is trusted
//
// The plane is trusted to carry envelopes, and with the knowledge of who talks to whom and when, and from which address.
// It cannot read a message, alter it, make one up, or show it to another receiver as if meant for that one: [Seal] encrypts
// to the receiver and signs as the sender, and [Open] accepts nothing else. It can repeat messages, against which there is
// [ReplayGuard], and hold them back.
//
// A client signs the name of the server it dialled when it registers, so a server cannot register as its clients elsewhere.
// Without TLS whoever is on the way can use a connection after the client registered on it.
//
// # Limitations
//
// Messages are not hidden from somebody who learns the receiver's key later: there is no forward secrecy here. They hold
// nothing that would open a session then, but addresses, and ICE passwords. The encryption (X25519) does not resist a
// quantum computer; the session secret does, to which the ML-KEM exchange inside of offer and answer contributes.
//
// Clocks of peers must agree within five minutes. One Client is registered with one server.
package signaling
