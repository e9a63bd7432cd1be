// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package rvproto

import "encoding/binary"

// authDomain keeps the signature of a registration from meaning anything elsewhere.
const authDomain = "runnel rendezvous v1\x00"

// AuthInput is what a client signs to prove that it holds the key of its peer ID:
//
//	"runnel rendezvous v1\0" ‖ server name ‖ challenge (32 bytes) ‖ time (8 bytes, Unix milliseconds, big endian)
//
// Only the name varies in length and all after it is fixed, so no two inputs are alike. The client checks that the name
// is the one it dialled; a server that forwards another server's challenge is found out by it.
func AuthInput(server string, challenge []byte, millis int64) []byte {
	b := make([]byte, 0, len(authDomain)+len(server)+len(challenge)+8)
	b = append(b, authDomain...)
	b = append(b, server...)
	b = append(b, challenge...)
	return binary.BigEndian.AppendUint64(b, uint64(millis))
}
