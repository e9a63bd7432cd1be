// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// A Secret is the session secret, from which every key of a session comes by label.
// It must never be logged or sent.
type Secret [32]byte

// secretSalt is the salt of the extraction; it names protocol and version.
const secretSalt = "runnel v1 session secret"

// labelPrefix stands before every label, so that no other protocol's label can equal one of ours.
const labelPrefix = "runnel v1 "

// DeriveSecret joins what the handshake gave into the session secret:
//
//	HKDF-Extract(SHA-256, salt = "runnel v1 session secret",
//	             IKM = len(exporter) ‖ exporter ‖ len(kem) ‖ kem ‖ len(transcript) ‖ transcript)
//
// where each len is four bytes, big endian. The lengths keep the parts apart: no byte can move from one part into
// the next and give the same secret.
//
//   - exporter is the DTLS exporter value (RFC 5705, label "EXPORTER-runnel-v1", 32 bytes). It is what makes
//     the secret fresh and known to the two peers only.
//   - kem is the ML-KEM-768 shared secret (32 bytes), or empty when there was no signaling to carry the exchange.
//     As long as one of exporter and kem is unknown to an attacker, so is the secret.
//   - transcript is the bytes of offer and answer as signed, in that order; both peers must have seen the same.
//
// It panics if exporter is shorter than 32 bytes: that is a bug in the caller which would leave a session
// without secrecy.
func DeriveSecret(exporter, kem, transcript []byte) Secret {
	if len(exporter) < 32 {
		panic(fmt.Sprintf("seal: exporter value of %d bytes, want at least 32", len(exporter)))
	}
	ikm := make([]byte, 0, 12+len(exporter)+len(kem)+len(transcript))
	for _, part := range [][]byte{exporter, kem, transcript} {
		ikm = binary.BigEndian.AppendUint32(ikm, uint32(len(part)))
		ikm = append(ikm, part...)
	}
	prk, err := hkdf.Extract(sha256.New, ikm, []byte(secretSalt))
	clear(ikm)
	if err != nil {
		panic("seal: HKDF-Extract: " + err.Error()) // cannot happen with SHA-256
	}
	return Secret(prk)
}

// Export returns n bytes for the use named by label: HKDF-Expand(s, "runnel v1 " + label, n), SHA-256.
// Different labels give independent bytes. One label must always be used with one length, because a longer
// output begins with the shorter one.
//
// It panics if n is negative or above 8160, the most that HKDF can give.
func (s Secret) Export(label string, n int) []byte {
	b, err := hkdf.Expand(sha256.New, s[:], labelPrefix+label, n)
	if err != nil {
		panic(fmt.Sprintf("seal: export of %d bytes: %v", n, err))
	}
	return b
}

// Binding returns the value that names this session for [SignIdentity]. Only the two peers know it, and it is
// different in every session.
func (s Secret) Binding() [32]byte {
	return [32]byte(s.Export("identity", 32))
}
