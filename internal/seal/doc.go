// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

// Package seal protects the packets of a session: it derives the keys, encrypts and authenticates every
// packet, refuses replays, and changes keys before any limit is near (docs/PROTOCOL.md, "Packet protection").
//
// A session is made once both peers hold the same secret:
//
//	secret := seal.DeriveSecret(dtlsExporter, kemSecret, transcript)
//	s, err := seal.NewSession(secret, seal.Initiator, seal.AES128GCM, nil)
//
//	// Sending: header, payload, seal. The buffer needs s.Overhead() bytes of spare capacity.
//	pkt := wire.AppendHeader(buf[:0], peerSID, s.KeyPhase(), s.NextPN(), largestAcked)
//	hdrLen := len(pkt)
//	pkt = append(pkt, payload...)
//	pkt = s.Seal(pkt, hdrLen, s.NextPN())
//
//	// Receiving.
//	h, err := wire.ParseHeader(pkt)
//	payload, pn, err := s.Open(pkt, h)
//
// Each direction has its own keys, so a packet reflected to its sender does not open. The nonce is the packet
// number, and a number is never used twice, because [Session] hands the numbers out and refuses old ones. The
// header is associated data: no bit of a packet can change without the packet being refused.
//
// The identity of a peer is proven inside the protected channel by [SignIdentity] over [Secret.Binding].
//
// The package is a pure machine: no clock, no socket, no goroutine, no randomness. A Session belongs to one
// goroutine.
//
// # Timing
//
// Which key is tried depends only on the key phase bit and the packet number, both of which travel in clear, and
// exactly one key is tried per packet. The next receiving keys are derived ahead of time, so a packet that
// pretends to start a new phase costs the same as any other (RFC 9001 §6.3). Tags are compared in constant time
// by the AEAD implementations. AES is only to be preferred where it is done by hardware ([PreferAES]); in
// software it leaks through caches.
//
// # Limitations
//
// The header is authenticated but not hidden: session ID, packet number and key phase are visible on the wire,
// so an observer of two networks can link a session that moves between them (QUIC hides the number; we trade it
// for one block cipher call less per packet).
//
// Go cannot promise that old keys are gone from memory; they are dropped for the collector and overwritten where
// this package owns the bytes.
package seal
