// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package seal

import "fmt"

// phaseBit is where the key phase stands in the first byte of a protected packet (docs/PROTOCOL.md, "Packets").
const phaseBit = 0x10

// NextPN returns the packet number for the next call of Seal.
func (s *Session) NextPN() uint64 { return s.send.next }

// KeyPhase returns the key phase for the header of the next packet to be sealed.
func (s *Session) KeyPhase() bool { return s.send.phase&1 != 0 }

func (s *Session) canSeal() bool {
	return s.send.count < s.sealLimit && s.send.next <= maxPN
}

// Seal encrypts pkt[hdrLen:] in place with pkt[:hdrLen] as associated data, appends the tag and returns the
// packet. It does not allocate if pkt has [Session.Overhead] bytes of spare capacity; otherwise the result is in
// a new buffer. Seal sets the key phase bit of the header itself, so a header written before a key update is
// still right.
//
// pn is normally NextPN; a larger one skips numbers, which is allowed. Seal panics if pn has been used: a nonce
// used twice gives away the plaintext and the means to forge, so no caller may survive asking for it.
//
// Seal returns nil when the limits of the key are reached ([ErrExhausted]); the packet is then still in clear and
// must not be sent.
func (s *Session) Seal(pkt []byte, hdrLen int, pn uint64) []byte {
	if pn < s.send.next {
		panic(fmt.Sprintf("seal: packet number %d used again, next is %d", pn, s.send.next))
	}
	if !s.canSeal() || pn > maxPN {
		return nil
	}
	pkt[0] &^= phaseBit
	if s.KeyPhase() {
		pkt[0] |= phaseBit
	}
	s.send.keys.nonce(&s.nonce, pn)
	hdr := pkt[:hdrLen]
	pkt = s.send.keys.aead.Seal(hdr, s.nonce[:], pkt[hdrLen:], hdr)

	s.send.next = pn + 1
	s.send.count++
	s.stats.Sealed++
	s.maybeUpdate()
	return pkt
}

// HandleAcked tells the session that the peer has acknowledged packets up to the number largest. Without such
// news the keys are never changed, and sealing ends at the limit of the suite.
func (s *Session) HandleAcked(largest uint64) {
	if largest >= s.send.first && largest < s.send.next {
		s.send.acked = true
		s.maybeUpdate()
	}
}

// maybeUpdate starts a key update if it is due and permitted.
//
// RFC 9001 §6.1: "An endpoint MUST NOT initiate a subsequent key update unless it has received an acknowledgment
// for a packet that was sent protected with keys from the current key phase." The peer follows an update before
// it acknowledges anything of it, so its packets must have reached our phase as well.
func (s *Session) maybeUpdate() {
	if s.send.count >= s.rekeyAfter && s.send.acked && s.send.phase == s.recv.phase {
		s.updateSend()
	}
}

// updateSend moves the sending direction to the next phase.
func (s *Session) updateSend() {
	k, err := s.send.ratchet.step()
	if err != nil {
		return // cannot happen: the suite is known and the key has its size
	}
	s.send.keys = k
	s.send.phase++
	s.send.first = s.send.next
	s.send.count = 0
	s.send.acked = false
	s.stats.SendUpdates++
}
