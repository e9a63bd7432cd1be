// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import "time"

// A Controller decides how many bytes may be in flight on a path. It is told of every acknowledged and lost packet that
// counted as in flight, and asked for the window. It belongs to the driver's loop and needs no lock.
//
// Loss detection, pacing and the count of bytes in flight are not its business.
type Controller interface {
	// HandleAck is told of a newly acknowledged packet. If limited is false the window was not what held sending
	// back, and growing it would be guesswork. RFC 9002 §7.8.
	HandleAck(now time.Time, p SentPacket, limited bool)

	// HandleLoss is told of a packet declared lost, in ascending order of packet numbers.
	HandleLoss(now time.Time, p SentPacket)

	// HandlePersistentCongestion is told that nothing got through for several probe timeouts. RFC 9002 §7.6.
	HandlePersistentCongestion(now time.Time)

	// Window returns the congestion window in bytes.
	Window() int

	// SlowStart reports whether the window is still being searched for; pacing is looser then.
	SlowStart() bool
}

// A SentPacket is what a [Controller] may know of a packet.
type SentPacket struct {
	Number   uint64
	SentAt   time.Time
	Size     int           // bytes of UDP payload
	InFlight int           // bytes in flight on the path, this packet no longer included
	RTT      time.Duration // latest round-trip time, or zero if there is none yet
}
