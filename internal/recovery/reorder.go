// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package recovery

import "time"

const (
	// packetThreshold is how many later packets must have arrived before one counts as lost. RFC 9002 §6.1.1.
	packetThreshold = 3

	// maxPacketThreshold bounds how far that adapts; the time threshold finds losses on paths that reorder more.
	maxPacketThreshold = 1024

	// timeEighths is how much longer than a round trip, in eighths of it, a packet may take. RFC 9002 §6.1.2: 9/8.
	timeEighths = 1

	// maxTimeEighths bounds how far that adapts: the reordering window "SHOULD be bounded by SRTT". RFC 8985 §6.2.
	maxTimeEighths = 8

	// reorderEpisodes is for how many episodes of loss an adapted threshold lasts. RFC 8985 §6.2, step 4.
	reorderEpisodes = 16
)

// A reorder says how much reordering a path is thought to do. RFC 8985 §6.2.
type reorder struct {
	packets uint64
	eighths int
	lasts   int // episodes of loss until the thresholds are reset
}

func newReorder() reorder { return reorder{packets: packetThreshold, eighths: timeEighths} }

// spurious learns from a packet that was declared lost and then arrived, distance packets late and after a time.
// byNumber says that it was the packet threshold that was too low. Packets overtake each other by a time, which is more
// packets the faster they are sent: hence the doubling.
func (r *reorder) spurious(byNumber bool, distance uint64, took, rtt time.Duration) {
	r.lasts = reorderEpisodes
	if byNumber {
		r.packets = min(2*max(r.packets, distance), maxPacketThreshold)
	}
	need := int(min(8*max(took-rtt, 0)/max(rtt, 1), maxTimeEighths)) + 1
	r.eighths = min(max(r.eighths, need), maxTimeEighths)
}

// episode notes another episode of loss. "After 16 loss recoveries" without a spurious one the window is reset.
func (r *reorder) episode() {
	if r.lasts == 0 {
		return
	}
	if r.lasts--; r.lasts == 0 {
		*r = newReorder()
	}
}

// delay returns how much later than an acknowledged packet an earlier one may arrive before it counts as lost.
// RFC 9002 §6.1.2.
func (r *reorder) delay(rtt time.Duration) time.Duration {
	return max(rtt+rtt/8*time.Duration(r.eighths), granularity)
}

// An episode is the losses that a controller answers once: those of packets sent before it could react.
type episode struct {
	id     uint32
	end    uint64  // packets below it belong to the episode
	lost   int     // of them, lost and not arrived since
	newest instant // when the newest of them was sent
}

// add counts a loss and reports whether it begins an episode. next is the number of the next packet.
func (e *episode) add(pn, next uint64, at instant) (begins bool) {
	if e.lost == 0 || pn >= e.end {
		begins = true
		*e = episode{id: max(e.id+1, 1), end: next}
	}
	e.lost++
	e.newest = max(e.newest, at)
	return begins
}

// arrived counts a lost packet that arrived after all. If it was the last of the episode, it returns when the newest of
// them was sent.
func (e *episode) arrived() (undo instant) {
	if e.lost--; e.lost == 0 {
		undo = e.newest
	}
	return undo
}
