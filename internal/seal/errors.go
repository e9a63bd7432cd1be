// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package seal

import "errors"

var (
	// ErrAuth says that a packet is not authentic: it was forged, damaged, cut short, meant for another
	// session, or is a packet of our own sent back. The packet is to be dropped without an answer.
	ErrAuth = errors.New("seal: packet is not authentic")

	// ErrReplay says that the packet number has been seen already or is too old to tell (see [Window]). The
	// packet is to be dropped without an answer; duplicates are normal on the Internet.
	ErrReplay = errors.New("seal: packet number already seen or too old")

	// ErrExhausted says that the keys may not be used any more: too many packets failed authentication
	// (RFC 9001 §6.6), or no packet may be sealed because the peer let no key update happen. The session must
	// be closed without sending anything further.
	ErrExhausted = errors.New("seal: key limits reached")
)
