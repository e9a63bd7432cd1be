// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package seal

// Window is how far, in packet numbers, a packet may lag behind the newest and still be accepted.
const Window = (replayBlocks - 1) * 64

// replayBlocks is the number of 64-bit blocks in the ring; a power of two. One block is always partly in the
// future, so it does not count for the window.
const replayBlocks = 128

// A replayWindow remembers which of the most recent packet numbers have been seen, as the ring of blocks of
// RFC 6479: moving forward clears whole blocks and never shifts bits. The zero value has seen nothing.
type replayWindow struct {
	end    uint64 // one more than the largest number seen; 0: none
	blocks [replayBlocks]uint64
}

// check reports whether pn may be accepted: it is new and not too old.
func (w *replayWindow) check(pn uint64) bool {
	if pn >= w.end {
		return true
	}
	if w.end-1-pn >= Window {
		return false
	}
	return w.blocks[pn/64%replayBlocks]&(1<<(pn%64)) == 0
}

// mark records pn. It must have passed check, and its packet must have been authenticated.
func (w *replayWindow) mark(pn uint64) {
	block := pn / 64
	if pn >= w.end {
		// Clear the blocks between the newest so far and the new one. The block of end-1 is in use; before
		// the first number all blocks are clear.
		if w.end > 0 {
			last := (w.end - 1) / 64
			for i := range min(block-last, replayBlocks) {
				w.blocks[(last+1+i)%replayBlocks] = 0
			}
		}
		w.end = pn + 1
	}
	w.blocks[block%replayBlocks] |= 1 << (pn % 64)
}

// largest returns the largest number seen, or -1.
func (w *replayWindow) largest() int64 {
	return int64(w.end) - 1
}
