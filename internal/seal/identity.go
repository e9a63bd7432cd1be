// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"crypto"
	"crypto/ed25519"
	"fmt"
)

// identityDomain separates identity proofs from everything else an identity key signs.
const identityDomain = "runnel v1 identity proof\x00"

// identityMessage is what a proof signs: domain ‖ role (1 byte: 1 initiator, 2 responder) ‖ binding ‖ public key.
// The role makes a proof useless to send back, the key keeps a signature from being claimed for another key.
func identityMessage(pub ed25519.PublicKey, b [32]byte, r Role) []byte {
	m := make([]byte, 0, len(identityDomain)+1+len(b)+ed25519.PublicKeySize)
	m = append(m, identityDomain...)
	m = append(m, byte(r))
	m = append(m, b[:]...)
	return append(m, pub...)
}

// SignIdentity proves that the holder of key takes part, in role r, in the session with binding b
// ([Secret.Binding]). The key must be an Ed25519 key. Ed25519 is deterministic, so the signer is given no source
// of randomness.
//
// The proof is to be sent inside the protected channel only: it names the key that made it.
func SignIdentity(key crypto.Signer, b [32]byte, r Role) ([]byte, error) {
	if key == nil {
		return nil, fmt.Errorf("seal: identity key is nil")
	}
	pub, ok := key.Public().(ed25519.PublicKey)
	if !ok {
		return nil, fmt.Errorf("seal: identity key is %T, want Ed25519", key.Public())
	}
	if r != Initiator && r != Responder {
		return nil, fmt.Errorf("seal: invalid role %d", uint8(r))
	}
	sig, err := key.Sign(nil, identityMessage(pub, b, r), crypto.Hash(0))
	if err != nil {
		return nil, fmt.Errorf("seal: identity proof: %w", err)
	}
	if len(sig) != ed25519.SignatureSize {
		return nil, fmt.Errorf("seal: identity proof has %d bytes, want %d", len(sig), ed25519.SignatureSize)
	}
	return sig, nil
}

// VerifyIdentity reports whether sig proves that the holder of pub takes part, in role r, in the session with
// binding b. r is the role of the peer, not our own: checked this way a proof of ours that is sent back fails.
func VerifyIdentity(pub ed25519.PublicKey, b [32]byte, r Role, sig []byte) bool {
	if len(pub) != ed25519.PublicKeySize || len(sig) != ed25519.SignatureSize || (r != Initiator && r != Responder) {
		return false
	}
	return ed25519.Verify(pub, identityMessage(pub, b, r), sig)
}
