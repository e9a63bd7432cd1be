// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"crypto/cipher"
	"encoding/binary"
)

// nonceSize is the nonce length of every suite.
const nonceSize = 12

// keys is what protects the packets of one direction during one phase.
type keys struct {
	aead cipher.AEAD // nil: no keys
	iv   [nonceSize]byte
}

// nonce puts the nonce of packet pn into dst: the IV with the packet number exclusive-or'ed into its last eight
// bytes, big endian (RFC 9001 §5.3).
func (k *keys) nonce(dst *[nonceSize]byte, pn uint64) {
	*dst = k.iv
	binary.BigEndian.PutUint64(dst[4:], binary.BigEndian.Uint64(k.iv[4:])^pn)
}

// A ratchet gives the keys of one direction, phase by phase. It holds only the secret of the next phase: the
// keys of a phase cannot be computed again from it once they have been dropped.
type ratchet struct {
	suite  Suite
	secret Secret
}

// newRatchet starts the ratchet for packets sent by the given role.
func newRatchet(s Secret, suite Suite, sender Role) ratchet {
	return ratchet{suite: suite, secret: Secret(s.Export("packets "+sender.String(), 32))}
}

// step returns the keys of the next phase and moves the ratchet on.
// The suite's name is part of the labels, so one suite's key is never a part of another's.
func (r *ratchet) step() (keys, error) {
	key := r.secret.Export("key "+r.suite.String(), r.suite.keySize())
	aead, err := r.suite.newAEAD(key)
	clear(key)
	if err != nil {
		return keys{}, err
	}
	k := keys{aead: aead, iv: [nonceSize]byte(r.secret.Export("iv "+r.suite.String(), nonceSize))}
	r.secret = Secret(r.secret.Export("update", 32))
	return k, nil
}
