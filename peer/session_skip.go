// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import "math/rand/v2"

const (
	firstSkip = 128     // packets before the first number that is skipped, on average
	lastSkip  = 1 << 14 // and between two of them, later: each costs the peer a few acknowledgements
)

// A skipper leaves out packet numbers, so that a peer that acknowledges what it has not received gives itself away.
// RFC 9000 §21.4. The zero value is ready for use.
type skipper struct {
	at    uint64 // the number to skip; zero: not chosen yet
	every uint64 // packets between two of them, on average; zero: there was none
}

// next returns the number for the next packet, if pn follows the last one.
func (k *skipper) next(pn uint64) uint64 {
	if pn > k.at || k.at == 0 {
		k.every = min(max(2*k.every, firstSkip), lastSkip)
		k.at = pn + 1 + rand.Uint64N(2*k.every)
	}
	if pn == k.at {
		return pn + 1
	}
	return pn
}

// nextPN returns the number of the next packet to be sealed.
func (s *Session) nextPN() uint64 { return s.skips.next(s.keys.NextPN()) }
