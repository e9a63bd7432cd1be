// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

// An itemKind says what a packet told the peer.
type itemKind uint8

const (
	itemData itemKind = iota
	itemSkip
	itemOpen
	itemEnd
	itemAbort
	itemReject
	itemWindow
	itemLimits
	itemAck
	itemNote
)

// An item is one thing a packet told the peer, kept until the packet's fate is known. It names intent, not bytes: what
// has to be sent again is made anew.
type item struct {
	kind itemKind
	tx   uint8     // itemData: how often the units have been sent, if that matters
	s    *Sender   // itemData, itemSkip, itemOpen, itemEnd, itemAbort
	r    *Receiver // itemReject, itemWindow
	seq  uint64    // itemData: message; itemSkip: first message; itemAck: largest packet acknowledged; itemNote: the note
	a, b int       // itemData: units of the message, see sendMsg; itemSkip: a messages
}
