// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package wire

import "time"

// Limits and defaults that both ends of a session rely on. Those that are only one side's policy live with that side.
const (
	// DefaultDatagram is the UDP payload size assumed to pass everywhere, until a path has proven to carry more.
	// RFC 9000 §14 requires the same of every path QUIC runs over. Sizes are variables in the code; this is where
	// they start.
	DefaultDatagram = 1200

	// MinPayload is the smallest payload limit the flow protocol can work with: one opening chunk and some data.
	MinPayload = 900

	// MaxVarint is the largest value a variable-length integer can carry.
	MaxVarint = 1<<62 - 1

	// MaxCloseReason is the largest reason text of a CLOSE chunk, in bytes.
	MaxCloseReason = 256

	// MaxAddresses is how many addresses an ADDRESSES chunk may carry.
	MaxAddresses = 20

	// MaxAckRanges is how many ranges an ACK chunk may carry.
	MaxAckRanges = 128

	// MaxAckDelay bounds how long a receiver may delay an acknowledgement of a packet that asks for one.
	MaxAckDelay = 25 * time.Millisecond

	// AckEvery is how many ack-eliciting packets may arrive before one must be acknowledged at once. RFC 9000 §13.2.2.
	AckEvery = 2

	// MaxLabel is the largest label of a flow, in bytes.
	MaxLabel = 128

	// MaxPriority is the least urgent priority of a flow.
	MaxPriority = 7

	// MaxMetadata is the largest metadata of a flow, in bytes.
	MaxMetadata = 512

	// MaxOpenInfo is the largest encoded opening information of a flow, options included, in bytes. With it every
	// opening chunk fits a packet of DefaultDatagram bytes with room for data.
	MaxOpenInfo = 768

	// DefaultMaxMessage is the largest message accepted unless configured otherwise, in bytes.
	DefaultMaxMessage = 16 << 20

	// MessageCost is what every message costs in flow control beside its bytes. It stands for the receiver's
	// bookkeeping, so that a flood of tiny messages is bounded like a flood of bytes.
	MessageCost = 64

	// InitialFlowWindow is how much may be sent on a flow before the receiver has granted any credit for it, in bytes.
	InitialFlowWindow = 64 << 10

	// InitialSessionWindow is how much may be sent over all flows before the receiver has granted any, in bytes.
	InitialSessionWindow = 1 << 20

	// InitialFlowCount is how many flows may be opened before the receiver has granted more.
	InitialFlowCount = 128
)
