// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package seal

import "github.com/seed-98f0d4c2/runnel/internal/wire"

// Open authenticates and decrypts pkt in place. h must be the header parsed from pkt. It returns the payload, a
// part of pkt, and the full packet number.
//
// The errors are [ErrAuth], [ErrReplay] and [ErrExhausted]. After an error the bytes of pkt behind the header are
// undefined, and nothing about the session has changed except the counts in [Stats]: in particular the replay
// window and the keys move only for packets that are authentic.
func (s *Session) Open(pkt []byte, h wire.Header) (payload []byte, pn uint64, err error) {
	if s.stats.Forged >= s.forgeLimit {
		return nil, 0, ErrExhausted
	}
	if h.Len <= 0 || len(pkt) < h.Len+tagSize {
		s.stats.Invalid++
		return nil, 0, ErrAuth
	}
	pn = wire.DecodePN(s.recv.window.largest(), h.PN, h.PNLen)
	if pn > maxPN {
		s.stats.Invalid++
		return nil, 0, ErrAuth
	}
	if !s.recv.window.check(pn) {
		s.stats.Replayed++
		return nil, 0, ErrReplay
	}
	k, update := s.recvKeys(h.KeyPhase, pn)
	if k == nil {
		s.stats.Invalid++
		return nil, 0, ErrAuth
	}
	k.nonce(&s.nonce, pn)
	body := pkt[h.Len:]
	payload, err = k.aead.Open(body[:0], s.nonce[:], body, pkt[:h.Len])
	if err != nil {
		s.stats.Forged++
		if s.stats.Forged >= s.forgeLimit {
			return nil, 0, ErrExhausted
		}
		return nil, 0, ErrAuth
	}

	// The packet is authentic: from here on state may change.
	if update && !s.updateRecv(pn) {
		return nil, 0, ErrAuth
	}
	s.recv.window.mark(pn)
	s.stats.Opened++
	if h.KeyPhase == (s.recv.phase&1 != 0) {
		s.recv.first = min(s.recv.first, pn)
	}
	// Once the window has moved past the start of this phase, no packet of the phase before can be accepted any
	// more: forget its keys.
	if s.recv.prev.aead != nil && pn >= s.recv.first && pn-s.recv.first >= Window {
		s.recv.prev = keys{}
	}
	return payload, pn, nil
}

// recvKeys chooses the keys for a packet by what its header says in clear, and reports whether they are those of
// the next phase. It returns nil if no honest peer can have sent the packet: a sender's phase never goes back, so
// a packet of another phase is older than all of this phase or newer than all (RFC 9001 §6.4, §6.5).
func (s *Session) recvKeys(phase bool, pn uint64) (k *keys, next bool) {
	switch {
	case phase == (s.recv.phase&1 != 0):
		return &s.recv.cur, false
	case int64(pn) > s.recv.window.largest():
		return &s.recv.next, true
	case pn < s.recv.first && s.recv.prev.aead != nil:
		return &s.recv.prev, false
	}
	return nil, false
}

// updateRecv moves the receiving direction to the next phase, which began with packet pn or earlier, and makes
// our sending direction follow if it is behind (RFC 9001 §6.2). When both sides began an update at the same time,
// ours has happened already and the two updates are one.
func (s *Session) updateRecv(pn uint64) bool {
	next, err := s.recv.ratchet.step()
	if err != nil {
		return false // cannot happen: the suite is known and the key has its size
	}
	s.recv.prev, s.recv.cur, s.recv.next = s.recv.cur, s.recv.next, next
	s.recv.phase++
	s.recv.first = pn
	s.stats.RecvUpdates++
	if s.send.phase < s.recv.phase {
		s.updateSend()
	} else {
		s.maybeUpdate()
	}
	return true
}
