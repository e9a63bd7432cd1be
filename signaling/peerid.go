// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package signaling

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"log/slog"

	"filippo.io/edwards25519"
)

// A PeerID names a peer: it is the peer's Ed25519 public key. It is all that is needed to seal a message to the peer and
// to verify what the peer signed. It is comparable; the zero value names nobody.
type PeerID [32]byte

const (
	checksumLen = 3
	textLen     = 56 // base32 of 35 bytes, without remainder
)

var textEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// ErrBadPeerID is matched by every error of [ParsePeerID] and [PeerID.Validate].
var ErrBadPeerID = errors.New("signaling: bad peer ID")

// IDFromKey returns the ID of the peer that holds k. For a key that is not an Ed25519 private key by its length it
// returns the zero PeerID.
func IDFromKey(k ed25519.PrivateKey) PeerID {
	var id PeerID
	if len(k) == ed25519.PrivateKeySize {
		copy(id[:], k[ed25519.PrivateKeySize-ed25519.PublicKeySize:])
	}
	return id
}

// ParsePeerID parses the text form written by [PeerID.String], in lower or upper case. The ID it returns has passed
// [PeerID.Validate].
func ParsePeerID(s string) (PeerID, error) {
	if len(s) != textLen {
		return PeerID{}, fmt.Errorf("%w: %d characters, not %d", ErrBadPeerID, len(s), textLen)
	}
	var lower [textLen]byte
	for i := range len(s) {
		c := s[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if (c < 'a' || c > 'z') && (c < '2' || c > '7') {
			return PeerID{}, fmt.Errorf("%w: character %d is %q; only letters and the digits 2 to 7 occur", ErrBadPeerID, i+1, s[i])
		}
		lower[i] = c
	}
	var raw [len(PeerID{}) + checksumLen]byte
	if _, err := textEncoding.Decode(raw[:], lower[:]); err != nil {
		return PeerID{}, fmt.Errorf("%w: %w", ErrBadPeerID, err)
	}
	id := PeerID(raw[:len(PeerID{})])
	if sum := id.checksum(); !bytes.Equal(sum[:], raw[len(id):]) {
		return PeerID{}, fmt.Errorf("%w: wrong checksum; a character is mistyped", ErrBadPeerID)
	}
	if err := id.Validate(); err != nil {
		return PeerID{}, err
	}
	return id, nil
}

// Validate reports whether id can be somebody's public key: the canonical encoding of a point on the curve that is not
// of small order. For a key of small order anybody can make signatures, and messages sealed to it can be read by all.
func (id PeerID) Validate() error {
	p, err := new(edwards25519.Point).SetBytes(id[:])
	if err != nil {
		return fmt.Errorf("%w: not a point on the curve", ErrBadPeerID)
	}
	if !bytes.Equal(p.Bytes(), id[:]) { // RFC 8032 §5.1.3 wants it, SetBytes does not
		return fmt.Errorf("%w: not the canonical form of its point", ErrBadPeerID)
	}
	if new(edwards25519.Point).MultByCofactor(p).Equal(edwards25519.NewIdentityPoint()) == 1 {
		return fmt.Errorf("%w: a point of small order is nobody's key", ErrBadPeerID)
	}
	return nil
}

// checksum guards the text form against mistyping, not against forgery.
func (id PeerID) checksum() [checksumLen]byte {
	h := sha256.Sum256(append([]byte("runnel peer id v1\x00"), id[:]...))
	return [checksumLen]byte(h[:checksumLen])
}

// String returns the text form: 56 characters of lower-case base32 (RFC 4648 §6, no padding), which hold the key and
// three bytes of checksum.
func (id PeerID) String() string {
	sum := id.checksum()
	return textEncoding.EncodeToString(append(id[:], sum[:]...))
}

// Short returns the first eight characters of the text form, for logs and lists. They are no identity: keys with given
// first characters can be made.
func (id PeerID) Short() string { return id.String()[:8] }

// Key returns the public key that id is.
func (id PeerID) Key() ed25519.PublicKey { return bytes.Clone(id[:]) }

// IsZero reports whether id names nobody.
func (id PeerID) IsZero() bool { return id == PeerID{} }

// Compare orders IDs by their bytes, as [bytes.Compare] does.
func (id PeerID) Compare(other PeerID) int { return bytes.Compare(id[:], other[:]) }

// MarshalText returns the text form, so that IDs can stand in JSON and flags.
func (id PeerID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText is [ParsePeerID]. On error id is unchanged.
func (id *PeerID) UnmarshalText(text []byte) error {
	parsed, err := ParsePeerID(string(text))
	if err != nil {
		return err
	}
	*id = parsed
	return nil
}

// LogValue is the short form: it finds the peer in a log and does not fill the line.
func (id PeerID) LogValue() slog.Value { return slog.StringValue(id.Short()) }
