// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

// Package dtlsx runs a DTLS 1.2 handshake (RFC 6347) over datagrams that somebody else carries, and nothing but the
// handshake: what comes out is one exported secret (RFC 5705) that both ends share. The record layer of DTLS is never
// used for data.
//
//	id, err := dtlsx.NewIdentity() // ephemeral; id.Fingerprint() goes to the peer by signaling
//	hs := dtlsx.Start(ctx, &dtlsx.Config{
//		Identity:          id,
//		Client:            true,
//		RemoteFingerprint: offer.Fingerprint,
//		Write:             func(b []byte) { path.Send(b) },
//	})
//	defer hs.Close()
//	// whoever reads the socket: hs.Deliver(datagram)
//	<-hs.Done()
//	if err := hs.Err(); err != nil { ... }
//	secret := hs.Exporter()
//
// # What is fixed
//
// One cipher suite (TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256), one curve (X25519), one signature scheme
// (ecdsa_secp256r1_sha256), the extended master secret (RFC 7627) and certificates from both sides, pinned by SHA-256
// of the leaf. No resumption, no cookie exchange: the addresses are proven elsewhere, by ICE or by a retry token.
// A handshake costs two round trips.
//
// # What an attacker can reach
//
// The DTLS library in use has defects that this package keeps out of reach. With its default signature schemes it
// accepts a signature over no digest at all, which anybody can make for anybody's ECDSA certificate: hence the one
// scheme. An alert in plaintext ends a connection, and so does application data: neither is ever passed on, in either
// direction and at any time, so a handshake ends by success, by an error of our own or by its context. Records that
// arrive before their keys are kept by the library in memory that it reuses: here they wait outside until the keys
// exist. And as soon as the handshake is complete the library's connection is closed without a word to the network.
// A server keeps the datagram with its last flight and repeats it by itself, at a limited rate and for a limited time,
// whenever the client shows that it has not come through (RFC 6347 §4.2.4).
//
// # Limitations
//
// An on-path attacker can still prevent a handshake, by forging plaintext handshake messages that make it fail.
// HelloVerifyRequest and HelloRequest are ignored: peers that insist on a cookie cannot be reached. The
// retransmission interval is fixed, without back-off. The fingerprint check is all the authentication there is: with
// Config.AnyFingerprint the peer's identity must be proven inside the channel that the exported secret protects.
package dtlsx
