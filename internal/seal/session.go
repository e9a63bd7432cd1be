// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package seal

import "fmt"

// A Role says which end of a session a peer is. The zero value is neither.
type Role uint8

const (
	Initiator Role = iota + 1 // the peer that sent the offer
	Responder                 // the peer that answered it
)

// String returns "initiator" or "responder"; the key schedule uses these words.
func (r Role) String() string {
	switch r {
	case Initiator:
		return "initiator"
	case Responder:
		return "responder"
	}
	return fmt.Sprintf("Role(%d)", uint8(r))
}

// Other returns the opposite role.
func (r Role) Other() Role {
	if r == Initiator {
		return Responder
	}
	return Initiator
}

// maxPN is the largest packet number (RFC 9000 §12.3).
const maxPN = 1<<62 - 1

// DefaultRekeyAfter is the number of packets after which a sender changes keys: half of what AES-GCM allows.
const DefaultRekeyAfter = 1 << 22

// A Config tunes a [Session]. The zero value suits every program.
type Config struct {
	// RekeyAfter is the number of packets sealed under one key after which the sender changes keys, as soon as
	// the peer has acknowledged one of them. If zero, DefaultRekeyAfter. It may not exceed what the suite
	// allows (2^23 for AES-GCM, after which sealing stops).
	RekeyAfter uint64
}

// Stats counts what a [Session] has done.
type Stats struct {
	Sealed      uint64 // packets sealed
	Opened      uint64 // packets opened
	Forged      uint64 // packets that failed authentication; limited, see ErrExhausted
	Replayed    uint64 // packets refused by the replay window
	Invalid     uint64 // packets refused without trying a key: too short, or an impossible key phase
	SendUpdates uint64 // key updates of our sending direction
	RecvUpdates uint64 // key updates of the peer's
}

// A Session seals and opens the packets of one session, in both directions.
// It belongs to one goroutine at a time.
type Session struct {
	suite      Suite
	rekeyAfter uint64
	sealLimit  uint64 // packets under one sending key
	forgeLimit uint64 // failures over all receiving keys

	send struct {
		keys    keys
		ratchet ratchet
		phase   uint64 // number of updates; its lowest bit goes into the header
		first   uint64 // first packet number of this phase
		count   uint64 // packets sealed in this phase
		acked   bool   // the peer has acknowledged a packet of this phase
		next    uint64 // next packet number
	}
	recv struct {
		prev, cur, next keys // next is derived ahead; prev is for late packets and may be empty
		ratchet         ratchet
		phase           uint64
		first           uint64 // lowest packet number seen in this phase
		window          replayWindow
	}

	// nonce is scratch space: a local would escape to the heap through the AEAD interface.
	nonce [nonceSize]byte
	stats Stats
}

// NewSession returns the session of the given role. The peers must agree on s and suite and differ in role,
// or no packet of one will open at the other. c may be nil.
func NewSession(s Secret, role Role, suite Suite, c *Config) (*Session, error) {
	if role != Initiator && role != Responder {
		return nil, fmt.Errorf("seal: invalid role %d", uint8(role))
	}
	if suite > ChaCha20Poly1305 {
		return nil, fmt.Errorf("seal: unknown suite %d", uint8(suite))
	}
	rekeyAfter := uint64(DefaultRekeyAfter)
	if c != nil && c.RekeyAfter != 0 {
		rekeyAfter = c.RekeyAfter
	}
	if limit := suite.confidentialityLimit(); rekeyAfter > limit {
		return nil, fmt.Errorf("seal: RekeyAfter is %d, the limit of %v is %d", rekeyAfter, suite, limit)
	}
	n := &Session{
		suite:      suite,
		rekeyAfter: rekeyAfter,
		sealLimit:  suite.confidentialityLimit(),
		forgeLimit: suite.integrityLimit(),
	}
	n.send.ratchet = newRatchet(s, suite, role)
	n.recv.ratchet = newRatchet(s, suite, role.Other())
	var err error
	if n.send.keys, err = n.send.ratchet.step(); err != nil {
		return nil, err
	}
	if n.recv.cur, err = n.recv.ratchet.step(); err != nil {
		return nil, err
	}
	if n.recv.next, err = n.recv.ratchet.step(); err != nil {
		return nil, err
	}
	return n, nil
}

// Overhead returns how many bytes Seal adds to a packet.
func (s *Session) Overhead() int { return tagSize }

// Stats returns the counts so far.
func (s *Session) Stats() Stats { return s.stats }

// LargestReceived returns the largest packet number that Open has accepted, or -1.
// An authentic packet with this number is the newest the peer is known to have sent.
func (s *Session) LargestReceived() int64 { return s.recv.window.largest() }

// Err returns [ErrExhausted] once the session can no longer be used in one of its directions, else nil.
func (s *Session) Err() error {
	if s.stats.Forged >= s.forgeLimit || !s.canSeal() {
		return ErrExhausted
	}
	return nil
}
