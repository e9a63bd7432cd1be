// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package signaling

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/hpke"
	"crypto/rand"
	"crypto/sha512"
	"errors"
	"fmt"
	"time"

	"filippo.io/edwards25519"
)

// A sealed message, docs/PROTOCOL.md "Sealed messages":
//
//	version (1) | HPKE encapsulated key (32) | HPKE ciphertext of
//	              ( sender's peer ID (32) | signature (64) | body ) and its tag (16)
//
// HPKE (RFC 9180) in base mode hides all but the size and the receiver. Who sent it is said inside, by a signature that
// covers the receiver too: a receiver cannot pass the message on to a third peer as if it had been meant for that one.
const (
	sealedVersion = 1

	sealDomain = "runnel sealed message v1\x00"

	encSize    = 32
	tagSize    = 16
	senderSize = len(PeerID{}) + ed25519.SignatureSize

	sealOverhead = 1 + encSize + senderSize + tagSize
)

// ErrUnsealed is the error of [Open] for a payload that was not sealed to the key, was altered, or does not bear the
// signature of the peer it claims to be from.
var ErrUnsealed = errors.New("signaling: payload cannot be opened")

// Seal encrypts m to the peer, signed with key. Nobody but that peer can read it, and that peer cannot show a third one
// that it was meant for that one. It fills in m.ID and m.Time where they are zero, cuts m.Time to milliseconds, and sets
// m.Raw. The error matches [ErrBadMessage] when m is not valid and [ErrTooLarge] when it exceeds [MaxPayload].
func Seal(key ed25519.PrivateKey, to PeerID, m *Message) ([]byte, error) {
	from := IDFromKey(key)
	if from.IsZero() {
		return nil, fmt.Errorf("%w: it is no private key", ErrKeyFile)
	}
	if m.ID == [16]byte{} {
		rand.Read(m.ID[:])
	}
	if m.Time.IsZero() {
		m.Time = time.Now()
	}
	m.Time = m.Time.Truncate(time.Millisecond)
	if err := m.validate(); err != nil {
		return nil, err
	}
	raw, err := m.marshal()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadMessage, err)
	}
	if sealOverhead+len(raw) > MaxPayload {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, sealOverhead+len(raw), MaxPayload)
	}

	pub, err := sealKey(to)
	if err != nil {
		return nil, err
	}
	plain := make([]byte, 0, senderSize+len(raw))
	plain = append(plain, from[:]...)
	plain = append(plain, ed25519.Sign(key, signInput(to, from, raw))...)
	plain = append(plain, raw...)
	sealed, err := hpke.Seal(pub, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), sealInfo(to), plain)
	if err != nil {
		return nil, fmt.Errorf("signaling: sealing: %w", err)
	}
	m.Raw = raw
	return append([]byte{sealedVersion}, sealed...), nil
}

// Open decrypts a payload that was sealed to the holder of key and returns who sealed it, proven by signature. The
// message is valid but may be old or a repetition, which a [ReplayGuard] tells. The error matches [ErrUnsealed],
// [ErrTooLarge] or [ErrBadMessage]. Open does not keep payload.
func Open(key ed25519.PrivateKey, payload []byte) (from PeerID, m *Message, err error) {
	if len(payload) > MaxPayload {
		return PeerID{}, nil, ErrTooLarge
	}
	if len(payload) < sealOverhead {
		return PeerID{}, nil, fmt.Errorf("%w: %d bytes are too few", ErrUnsealed, len(payload))
	}
	if payload[0] != sealedVersion {
		return PeerID{}, nil, fmt.Errorf("%w: unknown version %d", ErrUnsealed, payload[0])
	}
	to := IDFromKey(key)
	if to.IsZero() {
		return PeerID{}, nil, fmt.Errorf("%w: it is no private key", ErrKeyFile)
	}
	priv, err := openKey(key)
	if err != nil {
		return PeerID{}, nil, err
	}
	plain, err := hpke.Open(priv, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), sealInfo(to), payload[1:])
	if err != nil || len(plain) < senderSize {
		return PeerID{}, nil, ErrUnsealed
	}
	from = PeerID(plain[:len(PeerID{})])
	sig, raw := plain[len(from):senderSize], plain[senderSize:]
	if err := from.Validate(); err != nil {
		return PeerID{}, nil, fmt.Errorf("%w: sender: %w", ErrUnsealed, err)
	}
	if !ed25519.Verify(from.Key(), signInput(to, from, raw), sig) {
		return PeerID{}, nil, fmt.Errorf("%w: wrong signature", ErrUnsealed)
	}
	m, err = parseBody(raw)
	if err != nil {
		return PeerID{}, nil, err
	}
	return from, m, nil
}

// signInput is what the sender signs. All before the body has a fixed length.
func signInput(to, from PeerID, raw []byte) []byte {
	b := make([]byte, 0, len(sealDomain)+len(to)+len(from)+len(raw))
	b = append(b, sealDomain...)
	b = append(b, to[:]...)
	b = append(b, from[:]...)
	return append(b, raw...)
}

// sealInfo is the info of HPKE. It ties the ciphertext to the Ed25519 form of the receiver's key, of which two share one
// X25519 form.
func sealInfo(to PeerID) []byte { return append([]byte(sealDomain), to[:]...) }

// sealKey is the X25519 form of a peer ID: the same point on the Montgomery curve, RFC 7748 §4.1.
func sealKey(to PeerID) (hpke.PublicKey, error) {
	if err := to.Validate(); err != nil {
		return nil, err
	}
	p, err := new(edwards25519.Point).SetBytes(to[:])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadPeerID, err)
	}
	pub, err := ecdh.X25519().NewPublicKey(p.BytesMontgomery())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadPeerID, err)
	}
	return hpke.NewDHKEMPublicKey(pub)
}

// openKey is the X25519 form of a private key: the scalar that RFC 8032 §5.1.5 derives from the seed. X25519 itself
// clamps it.
func openKey(key ed25519.PrivateKey) (hpke.PrivateKey, error) {
	h := sha512.Sum512(key.Seed())
	priv, err := ecdh.X25519().NewPrivateKey(h[:32])
	clear(h[:])
	if err != nil {
		return nil, fmt.Errorf("signaling: %w", err)
	}
	return hpke.NewDHKEMPrivateKey(priv)
}
