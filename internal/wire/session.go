// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package wire

import "fmt"

// Sizes of session chunk bodies, in bytes.
const (
	PeerIDLen    = 32
	SignatureLen = 64
	PathDataLen  = 8
)

// AppendIdentity appends an IDENTITY chunk: the peer ID and its signature over the session's binding value.
//
//	+-------------+---------------+
//	| peer ID(32) | signature(64) |
//	+-------------+---------------+
func AppendIdentity(b []byte, id [PeerIDLen]byte, sig [SignatureLen]byte) []byte {
	b = append(b, byte(ChunkIdentity))
	b = AppendVarint(b, PeerIDLen+SignatureLen)
	b = append(b, id[:]...)
	return append(b, sig[:]...)
}

// ParseIdentity parses the body of an IDENTITY chunk. It does not verify the signature.
func ParseIdentity(body []byte) (id [PeerIDLen]byte, sig [SignatureLen]byte, err error) {
	if len(body) != PeerIDLen+SignatureLen {
		return id, sig, fmt.Errorf("%w: identity of %d bytes", ErrMalformed, len(body))
	}
	copy(id[:], body)
	copy(sig[:], body[PeerIDLen:])
	return id, sig, nil
}

// AppendPathChallenge appends a PATH_CHALLENGE chunk. data must be unguessable. RFC 9000 §8.2.
func AppendPathChallenge(b []byte, data [PathDataLen]byte) []byte {
	return AppendChunk(b, ChunkPathChallenge, data[:])
}

// AppendPathResponse appends a PATH_RESPONSE chunk echoing the data of a challenge.
func AppendPathResponse(b []byte, data [PathDataLen]byte) []byte {
	return AppendChunk(b, ChunkPathResponse, data[:])
}

// ParsePathData parses the body of a PATH_CHALLENGE or PATH_RESPONSE chunk.
func ParsePathData(body []byte) (data [PathDataLen]byte, err error) {
	if len(body) != PathDataLen {
		return data, fmt.Errorf("%w: path data of %d bytes", ErrMalformed, len(body))
	}
	copy(data[:], body)
	return data, nil
}
