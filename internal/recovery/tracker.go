// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package recovery

import (
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/congestion"
	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// An instant is a moment as the time since the tracker's beginning, which makes it cheap to keep and to compare. Zero
// is no moment.
type instant = time.Duration

const (
	// probesPerPTO is how many packets may be sent when a probe timeout expires. RFC 9002 §6.2.4.
	probesPerPTO = 2

	// MaxPTO bounds the back-off, so that a path that comes back is noticed soon.
	MaxPTO = 10 * time.Second

	// MaxTracked bounds how many packets are remembered.
	MaxTracked = 1 << 17

	// maxQuiet is how many of them may be such that ask for nothing: what they say matters little, and a peer that leaves
	// an older packet open can cause any number.
	maxQuiet = 1 << 10

	// No more packets are sent while leastOutstanding, and one for every outstandingPart bytes of the window, are in
	// flight, or MaxTracked. What is remembered of a packet may be more than a small packet takes up of the window.
	leastOutstanding = 1 << 12
	outstandingPart  = 512
)

// A Fate is what became of a packet. Its order is: Repeat at most once, then Lost or LostRepeated at most once, then
// Acked at most once; any of them may be left out.
type Fate uint8

// Fates.
const (
	Acked        Fate = iota // it arrived; it may have been declared lost before
	Lost                     // it is thought lost: what it said must be said again
	Repeat                   // it is still in flight, but a probe should say what it said
	LostRepeated             // it is thought lost, and Repeat has been called
)

// A Config configures a [Tracker] of items T: the parts of a packet whose fate matters to whoever sent it.
type Config[T any] struct {
	// Fate is told what became of packet pn, if it has items. They are the tracker's and must not be retained. It must
	// not call the tracker. Nil is fine.
	Fate func(pn uint64, items []T, fate Fate)

	// Trace is told more, for whoever wants to watch.
	Trace Trace

	// Controller makes the congestion controller of a path, for packets of at most maxPacket bytes. If nil, NewWeir.
	Controller func(maxPacket int) congestion.Controller

	// MaxPacket is the UDP payload that every path carries, in bytes. If zero or negative, wire.DefaultDatagram.
	MaxPacket int

	// InitialRTT is the round-trip time to assume before there is a measurement. If zero or negative, 333 ms, as
	// RFC 9002 §6.2.2 suggests.
	InitialRTT time.Duration
}

// A Tracker remembers what was sent, finds out what arrived and what was lost, and says when more may be sent. It
// belongs to one goroutine.
type Tracker[T any] struct {
	config Config[T]
	fate   func(pn uint64, items []T, fate Fate)
	start  time.Time // an hour before the first call
	now    instant   // of the call in progress; it never goes back

	sent         ring[T]
	quiet        int // packets in sent that ask for nothing
	lost         lostQueue[T]
	spare        spares[T]
	next         uint64  // number following the newest packet
	skipped      skips   // numbers before it that no packet has
	largestAcked int64   // -1: none
	eliciting    int     // ack-eliciting packets whose fate is awaited
	lossAt       instant // when the earliest packet not yet lost will be, by time; zero: none
	backoff      int     // consecutive probe timeouts
	probes       int     // packets that may be sent regardless of the window

	fates [2]uint64 // ack-eliciting packets acknowledged, and lost, on the path in use when that was found out
	path  path
	stats Stats
	ack   congestion.Ack // scratch
	loss  congestion.Loss
}

// New returns a tracker on a path of which nothing is known.
func New[T any](c Config[T]) *Tracker[T] {
	if c.MaxPacket <= 0 {
		c.MaxPacket = wire.DefaultDatagram
	}
	if c.InitialRTT <= 0 {
		c.InitialRTT = 333 * time.Millisecond
	}
	if c.Controller == nil {
		c.Controller = congestion.NewWeir
	}
	t := &Tracker[T]{config: c, fate: c.Fate, largestAcked: -1}
	t.newPath(Info{})
	return t
}

func (t *Tracker[T]) newPath(info Info) {
	if info.RTT <= 0 {
		info.RTT = t.config.InitialRTT
	}
	t.path.reset(t.config.Controller(t.config.MaxPacket), t.config.MaxPacket, info, t.next)
}

// clock sets the time of the call in progress.
func (t *Tracker[T]) clock(now time.Time) instant {
	if t.start.IsZero() {
		t.start = now.Add(-time.Hour)
	}
	i := max(t.now, now.Sub(t.start))
	if i-t.now >= suspended {
		t.slept(i)
	}
	t.now = i
	return i
}

// suspended is how late a caller must be for a timeout to have been kept from running altogether.
const suspended = time.Second

// slept is called when there was no call for long. If there should have been one, the host was asleep: how long what
// was in flight has taken says nothing of the path.
func (t *Tracker[T]) slept(now instant) {
	if at := t.nextTimeout(); at != 0 && now-at >= suspended {
		t.path.awake = now
	}
}

// number takes note of the number of a packet that is sent, and of those skipped before it.
func (t *Tracker[T]) number(pn uint64) {
	if pn > t.next {
		t.skipped.add(t.next, pn)
	}
	t.next = pn + 1
	t.stats.Sent++
}

// time turns an instant into a time, and none into none.
func (t *Tracker[T]) time(i instant) time.Time {
	if i == 0 {
		return time.Time{}
	}
	return t.start.Add(i)
}

// ResetPath begins anew on another path: controller, round-trip time, bytes in flight, packet size and marks.
// RFC 9000 §9.4. What is in flight is still waited for, but two probes may go out at once, so that losses on the old
// path show after one round trip on the new one; with Info.Lost all of it is said again without waiting for that.
func (t *Tracker[T]) ResetPath(now time.Time, info Info) {
	t.clock(now)
	if t.path.mtu.flying {
		t.settleMTUProbe()
	}
	t.newPath(info)
	t.backoff = 0
	if t.eliciting > 0 {
		t.path.lastSent = t.now
		repeat := probesPerPTO
		if info.Lost {
			repeat = t.sent.n
		}
		t.grantProbes(repeat)
	}
}

// Resume ends the back-off of probe timeouts and grants probes, because there is a sign that the path works again.
func (t *Tracker[T]) Resume(now time.Time) {
	t.clock(now)
	if t.backoff == 0 || t.eliciting == 0 {
		return
	}
	t.backoff = 0
	t.path.lastSent = t.now
	t.grantProbes(probesPerPTO)
}

// Sent records packet pn of size bytes of UDP payload. Numbers ascend. Some should be skipped, where the peer
// cannot foresee it: one that acknowledges what it has not received then gives itself away. eliciting says whether it
// asks for an acknowledgement; only then it counts as in flight. The tracker takes items over and gives another slice
// back in exchange.
func (t *Tracker[T]) Sent(now time.Time, pn uint64, size int, eliciting bool, items []T) (spare []T) {
	i := t.clock(now)
	t.number(pn)
	p := &t.path
	flags := uint8(0)
	if p.ecn.packetSent() {
		flags = flagMarked
	}
	if !eliciting {
		return t.sentQuietly(i, pn, size, flags, items)
	}
	t.makeRoom()
	if i-p.lastSent > minIdle {
		t.sent.shrink()
		t.spare = spares[T]{}
	}
	s := t.sent.push(pn)
	s.at, s.size, s.state, s.items = i, int32(size), slotInFlight, items
	s.rate = p.rate.sent(i, p.inFlight)
	flags |= flagEliciting
	if p.rate.appLimited != 0 {
		flags |= flagAppLimited
	}
	s.flags = flags
	t.eliciting++
	p.resume(i)
	p.inFlight += size
	if size > p.mtu.current {
		p.mtu.current = size
		p.setMTU()
	}
	p.cc.HandleSent(now, pn, size, p.inFlight)
	p.paced(size)
	if t.probes > 0 {
		t.probes--
	}
	return t.spare.take()
}

// sentQuietly records a packet that asks for nothing. Nobody acknowledges it on its own account: it is remembered, if
// it says anything, only as long as older packets are.
func (t *Tracker[T]) sentQuietly(i instant, pn uint64, size int, flags uint8, items []T) (spare []T) {
	if t.eliciting == 0 {
		if m := &t.path.mtu; m.flying {
			if i-m.sentAt < t.path.rtt.pto() {
				clear(items)
				return items[:0]
			}
			t.settleMTUProbe()
		}
		t.dropAll()
	}
	if t.eliciting == 0 || len(items) == 0 || t.quiet == maxQuiet {
		clear(items)
		return items[:0]
	}
	t.makeRoom()
	s := t.sent.push(pn)
	s.at, s.size, s.state, s.flags, s.items = i, int32(size), slotInFlight, flags, items
	t.quiet++
	return t.spare.take()
}

// makeRoom sees to it that another packet can be remembered: a peer that receives but never acknowledges must not make
// us remember everything.
func (t *Tracker[T]) makeRoom() {
	for t.sent.n >= MaxTracked {
		t.lose(t.sent.at(0), false)
		t.trim()
		t.reportLoss()
	}
}

// trim drops packets from the old end whose fate is known.
func (t *Tracker[T]) trim() {
	for t.sent.n > 0 {
		s := t.sent.at(0)
		if s.state == slotInFlight {
			return
		}
		if s.state == slotAcked {
			t.path.bad.arrived(s.pn)
		}
		t.pop()
	}
}

// pop forgets the oldest packet.
func (t *Tracker[T]) pop() {
	s := t.sent.at(0)
	if s.flags&(flagEliciting|flagMTUProbe) == 0 {
		t.quiet--
	}
	t.release(s)
	t.sent.pop()
}

// release takes the items of a packet whose fate is known.
func (t *Tracker[T]) release(s *packet[T]) {
	t.spare.put(s.items)
	s.items = nil
}

// dropAll forgets all packets that are not lost.
func (t *Tracker[T]) dropAll() {
	for t.sent.n > 0 {
		t.pop()
	}
}

// Close forgets everything in flight.
func (t *Tracker[T]) Close() {
	t.dropAll()
	for t.lost.n > 0 {
		t.lost.pop(&t.spare)
	}
	t.sent, t.lost, t.spare = ring[T]{}, lostQueue[T]{}, spares[T]{}
	t.eliciting, t.path.inFlight, t.lossAt, t.probes = 0, 0, 0, 0
	t.path.mtu = newMTU(t.config.MaxPacket, 0)
}

// CanSend reports whether a packet may be sent now. If only pacing forbids it, next is when it no longer will.
func (t *Tracker[T]) CanSend(now time.Time) (ok bool, next time.Time) {
	ok, at := t.path.canSend(t.clock(now), t.probes > 0)
	if ok && t.probes == 0 && t.eliciting >= min(leastOutstanding+t.path.cc.Window()/outstandingPart, MaxTracked) {
		return false, time.Time{}
	}
	return ok, t.time(at)
}

// HeldBack records that there is something to send that CanSend forbids.
func (t *Tracker[T]) HeldBack() { t.path.limited = true }

// NothingToSend records that there is nothing to send though more might be: it is not the window that limits.
// RFC 9002 §7.8.
func (t *Tracker[T]) NothingToSend() {
	t.path.limited = false
	t.path.rate.idle(t.path.inFlight)
}

// SetDemand tells the controller what kind of data the path carries.
func (t *Tracker[T]) SetDemand(now time.Time, d congestion.Demand) { t.path.cc.SetDemand(now, d) }
