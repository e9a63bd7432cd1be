// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

// Package rendezvous is the server that introduces peers to each other, as an [http.Handler]:
//
//	srv, err := rendezvous.New(&rendezvous.Config{
//		Name:    "rendezvous.example",
//		Relays:  []string{"turn:relay.example:3478?transport=udp"},
//		Secrets: []string{secret},
//	})
//	if err != nil {
//		return err
//	}
//	http.Handle("/v1", srv)
//	go http.ListenAndServeTLS(":443", "cert.pem", "key.pem", nil)
//	...
//	err = srv.Shutdown(ctx) // before or after that of the http.Server, which does not know WebSockets
//
// Command rendezvous is a program around it; package signaling has the client. The protocol is docs/PROTOCOL.md,
// "Rendezvous".
//
// # What it does
//
// A client proves that it holds the key of its [signaling.PeerID] and is registered from then on. It may send envelopes to
// other registered peers, and learns for each what became of it. The server cannot read them: they are sealed by the
// peers. It hands out the addresses of relays with short-lived credentials that it makes from a secret it shares with
// them. It keeps nothing on disk.
//
// Whether a peer is unknown, offline or unwilling has one answer, not found, given at the same place in the code. All that
// can be found out about a key is whether somebody could be reached under it now.
//
// # What it keeps
//
// For each connection two goroutines; for each registered peer a session with the envelopes that its client has not
// confirmed, at most Limits.QueueMessages. When a connection breaks, the session is kept for Config.ResumeWindow and goes
// on collecting envelopes; the client takes it up again with a token. Everything that grows with what strangers send is
// bounded by a field of [Limits].
//
// # Locks
//
// Server.mu is taken before session.mu, and that before conn.mu. Nothing blocks while it holds one of them.
//
// # Limitations
//
// One process serves all: there is no cluster, and a restart forgets all sessions (clients register anew by themselves).
// Everybody who proves possession of a key may register; there is no list of who may. The server learns the addresses of
// its clients, which keys introduce themselves to which, and when. It cannot check the candidates inside of envelopes, so
// the receiver must bound what it sends to addresses it was told.
package rendezvous
