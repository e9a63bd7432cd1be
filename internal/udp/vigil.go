// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package udp

import (
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
)

// A processor that sleeps takes longer to wake than a peer on the same machine, or in the next rack, takes to answer. So
// in a conversation whose turns are that short the reader stays awake, and looks for the next datagram again and again.
// Others run meanwhile: it yields between two looks.
const (
	// vigilTime is for how long. What there is to gain is less; but what keeps the peer for longer than usual, such as an
	// interrupt, is not to put both to sleep.
	vigilTime = 100 * time.Microsecond

	// vigilReach is how long a wait may be in which both sleep, and which vigils would make short.
	vigilReach = 4 * vigilTime

	// vigilPrice is how many short waits pay for a vigil in vain. Where all are, such as when both ends share a processor,
	// one wait in a hundred is longer for it.
	vigilPrice = 100
	maxVigil   = 16 * vigilPrice // some may be in vain one after the other

	// vigilLength is how long vigils may follow each other before the runtime has to look at other sockets, which it does
	// only when it finds nobody to run.
	vigilLength = 5 * time.Millisecond
)

// A vigil decides whether the goroutine that reads a Conn stays awake.
type vigil struct {
	raw    syscall.RawConn
	now    func() time.Time
	ready  func(fd uintptr) bool // whether there is something to read
	watch  func(fd uintptr) bool // bound, because it would be allocated each time
	spoken atomic.Bool           // something was sent since the last read; everything else is the reader's
	talks  bool                  // it was before the last read as well
	credit int                   // what vigils may cost
	start  time.Time             // of this one
	polled time.Time             // when the runtime last looked at other sockets
	slept  bool                  // since the last look
}

// newVigil returns a vigil over a socket, or nil. On a single processor it would only be in the way.
func newVigil(raw syscall.RawConn, ready func(fd uintptr) bool) *vigil {
	if ready == nil || runtime.GOMAXPROCS(0) == 1 {
		return nil
	}
	v := &vigil{raw: raw, now: time.Now, ready: ready}
	v.watch = v.keep
	return v
}

// begin is called before reading, and stays awake until there is something to read if that has been worth while lately.
func (v *vigil) begin() {
	if !v.talks {
		return
	}
	v.start = v.now()
	if v.credit > 0 {
		_ = v.raw.Read(v.watch) // reading fails as well
	}
}

// keep is called by a RawConn. False has it wait until there is something to read.
func (v *vigil) keep(fd uintptr) bool {
	if v.slept || v.ready(fd) {
		v.slept = false
		return true
	}
	for {
		runtime.Gosched()
		if v.ready(fd) {
			break
		}
		if v.now().Sub(v.start) >= vigilTime {
			v.credit -= vigilPrice
			return true
		}
	}
	// What is there has come since the RawConn began to count what comes, so waiting ends at once. But before it does the
	// runtime has found nobody to run, or somebody who takes care.
	if v.start.Sub(v.polled) >= vigilLength {
		v.polled, v.slept = v.start, true
		return false
	}
	return true
}

// end is called when something has been read.
func (v *vigil) end() {
	spoken := v.spoken.Load() && v.spoken.Swap(false)
	if v.talks && spoken && v.now().Sub(v.start) < vigilReach {
		v.credit = min(v.credit+1, maxVigil)
	}
	v.talks = spoken
}
