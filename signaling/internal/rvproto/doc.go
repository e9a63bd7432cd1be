// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

// Package rvproto holds the messages between a rendezvous server and its clients, docs/PROTOCOL.md "Rendezvous": JSON
// objects, one to a WebSocket text message.
//
//	b, err := rvproto.Encode(&rvproto.Frame{Type: rvproto.TypeSend, Seq: 1, To: to, Payload: sealed})
//	...
//	f, err := rvproto.ParseClient(b)
//
// Both ends use it, so that neither can drift. It knows no identities: peers are text here, and package signaling gives
// that text its meaning.
//
// # Limitations
//
// encoding/json matches names without regard to case and takes the last of repeated members. Nothing depends on the
// exact bytes of a frame, so this is harmless; a frame is never signed.
package rvproto
