// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

// Http serves a directory to peers named by their public keys, and fetches from it, with nothing but net/http on both
// sides: no port is opened, no certificate is needed, and each side knows who the other is.
//
//	http serve --rendezvous URL --dir .                      prints its ID
//	http fetch --rendezvous URL ID /files/README.md          from anywhere: prints the file
//	http fetch --rendezvous URL --upload FILE ID /sum        sends a file, of any size, and prints its SHA-256 as the
//	                                                         server sees it
//
// Without a rendezvous a peer is named by its ID and an address of it, which serve prints:
//
//	http serve --loopback                                    on this machine
//	http fetch --loopback ID@127.0.0.1:PORT /whoami
//
// The whole of the adaptation is a listener and a dialler, in serve.go and fetch.go.
//
// # Limitations
//
// Whoever knows the ID may fetch; a real server decides by [peer.Config.Authorize], or by the ID in each request's
// RemoteAddr.
package main
