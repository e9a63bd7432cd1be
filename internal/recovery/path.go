// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package recovery

import (
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/congestion"
)

// A path is what is known of the path in use. Nothing of it survives a change of path but what ecn and rate count for
// ever.
type path struct {
	cc      congestion.Controller
	rtt     rtt
	pacer   pacer
	rate    rateState
	reorder reorder
	episode episode
	bad     badRun
	ecn     ecn
	mtu     mtu

	start     uint64  // first packet sent on it; earlier ones say nothing about it
	inFlight  int     // bytes
	awake     instant // when the host came back from a sleep; round trips that began before are none
	lastSent  instant // when an ack-eliciting packet was last sent; zero: never
	trusted   int     // bytes of the window that may be used after silence; zero: all
	limited   bool    // the window, or pacing, held sending back
	slowStart bool    // the controller says so
	unpaced   bool    // pacing would change nothing
}

// Info is what is known of a path before it is used. The zero value is nothing.
type Info struct {
	RTT       time.Duration // if zero or negative, Config.InitialRTT is assumed
	MaxPacket int           // largest UDP payload worth trying, in bytes; if not above Config.MaxPacket, that
	Lost      bool          // what is in flight has been lost with the path before, as far as one can tell
}

// reset begins anew on another path. RFC 9000 §9.4.
func (p *path) reset(cc congestion.Controller, base int, info Info, start uint64) {
	rate, marks, episode := p.rate, p.ecn, p.episode
	*p = path{
		cc: cc, rtt: newRTT(info.RTT), reorder: newReorder(), mtu: newMTU(base, info.MaxPacket), ecn: marks, start: start,
	}
	p.rate.delivered, p.rate.lost = rate.delivered, rate.lost
	p.episode.id = episode.id // so that packets lost before never match
	p.ecn.reset()
	p.slowStart = true
}

// observe takes note of what the controller has decided.
func (p *path) observe() { p.slowStart = p.cc.State().Phase == "slow start" }

// setMTU tells everyone of a change of the packet size.
func (p *path) setMTU() { p.cc.SetMaxPacket(p.mtu.current) }

// pacingGain is how many windows are sent per round trip where the controller has no opinion. "Using a value for N that
// is small, but at least 1 (for example, 1.25) ensures that variations in RTT do not result in underutilization of the
// congestion window." RFC 9002 §7.7. A growing window needs more.
func (p *path) pacingGain() float64 {
	if p.slowStart {
		return 2
	}
	return 1.25
}

// canSend reports whether the window and pacing let a packet leave. If only pacing forbids it, next is when it no
// longer will.
func (p *path) canSend(now instant, probing bool) (ok bool, next instant) {
	cwnd := p.window(now)
	given := p.cc.PacingRate()
	p.unpaced = given <= 0 && p.rtt.smoothed < unpacedRTT
	paced := true
	if !p.unpaced {
		if given > 0 && p.trusted != 0 {
			given *= float64(cwnd) / float64(max(p.cc.Window(), 1))
		}
		p.pacer.set(given, cwnd, p.mtu.current, p.rtt.smoothed, p.pacingGain())
		paced = p.pacer.advance(now)
	}
	// "An endpoint MUST NOT send a packet if it would cause bytes_in_flight to be larger than the congestion window",
	// but for probes: RFC 9002 §7 and §7.5.
	if probing {
		return true, 0
	}
	if p.inFlight+p.mtu.current > cwnd {
		return false, 0
	}
	if !paced {
		return false, p.pacer.next()
	}
	return true, 0
}

// paced charges the pacer for a packet. Where pacing does not matter nobody pays back.
func (p *path) paced(size int) {
	if !p.unpaced {
		p.pacer.sent(size)
	}
}

// A badRun is a period in which every packet was lost. RFC 9002 §7.6.
type badRun struct {
	start, end instant // when its first and last packet were sent; start zero: there is none
	last       uint64  // number of the last
}

// persistentPTOs is for how many probe timeouts nothing may get through before congestion is persistent.
// RFC 9002 §7.6.1.
const persistentPTOs = 3

// lost adds a lost packet and reports whether congestion is persistent: "the duration between the send times of these
// two packets exceeds the persistent congestion duration" and all between were lost.
func (b *badRun) lost(pn uint64, at instant, r *rtt) bool {
	if r.first == 0 || at < r.first {
		return false // "a prior RTT sample existed when these two packets were sent"
	}
	if b.start == 0 {
		b.start = at
	}
	b.end, b.last = at, pn
	if b.end-b.start <= persistentPTOs*r.pto() {
		return false
	}
	b.start = at
	return true
}

// arrived notes a packet that was acknowledged, which ends the run if it was sent later.
func (b *badRun) arrived(pn uint64) {
	if pn > b.last {
		b.start = 0
	}
}
