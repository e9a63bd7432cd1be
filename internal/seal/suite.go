// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"fmt"

	"golang.org/x/crypto/chacha20poly1305"
	"golang.org/x/sys/cpu"
)

// A Suite is an AEAD algorithm for packets. The zero value is AES128GCM.
type Suite uint8

const (
	AES128GCM        Suite = iota // AEAD_AES_128_GCM, RFC 5116
	ChaCha20Poly1305              // AEAD_CHACHA20_POLY1305, RFC 8439
)

// tagSize is the length of the authentication tag of every suite.
const tagSize = 16

// String returns the name of the suite as it appears in offers and answers.
func (s Suite) String() string {
	switch s {
	case AES128GCM:
		return "aes128gcm"
	case ChaCha20Poly1305:
		return "chacha20poly1305"
	}
	return fmt.Sprintf("Suite(%d)", uint8(s))
}

// ParseSuite is the inverse of [Suite.String]. It reports false for a name it does not know; a peer that lists
// suites newer than ours is no error, the name is to be skipped.
func ParseSuite(name string) (Suite, bool) {
	switch name {
	case "aes128gcm":
		return AES128GCM, true
	case "chacha20poly1305":
		return ChaCha20Poly1305, true
	}
	return 0, false
}

// PreferAES reports whether this machine computes AES-GCM in hardware. Without it ChaCha20-Poly1305 is both
// faster and free of cache timing leaks.
func PreferAES() bool {
	return cpu.X86.HasAES && cpu.X86.HasPCLMULQDQ ||
		cpu.ARM64.HasAES && cpu.ARM64.HasPMULL ||
		cpu.S390X.HasAES && cpu.S390X.HasAESGCM
}

func (s Suite) keySize() int {
	if s == AES128GCM {
		return 16
	}
	return chacha20poly1305.KeySize
}

// confidentialityLimit is the number of packets that may be sealed under one key (RFC 9001 §6.6: 2^23 for
// AES-GCM; for ChaCha20-Poly1305 it is beyond the number of packet numbers).
func (s Suite) confidentialityLimit() uint64 {
	if s == AES128GCM {
		return 1 << 23
	}
	return maxPN
}

// integrityLimit is the number of packets that may fail authentication over the life of a session, all keys
// counted together (RFC 9001 §6.6).
func (s Suite) integrityLimit() uint64 {
	if s == AES128GCM {
		return 1 << 52
	}
	return 1 << 36
}

func (s Suite) newAEAD(key []byte) (cipher.AEAD, error) {
	switch s {
	case AES128GCM:
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, fmt.Errorf("seal: %w", err)
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			return nil, fmt.Errorf("seal: %w", err)
		}
		return aead, nil
	case ChaCha20Poly1305:
		aead, err := chacha20poly1305.New(key)
		if err != nil {
			return nil, fmt.Errorf("seal: %w", err)
		}
		return aead, nil
	}
	return nil, fmt.Errorf("seal: unknown suite %d", uint8(s))
}
