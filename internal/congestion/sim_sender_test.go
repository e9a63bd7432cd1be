// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package congestion

import (
	"math"
	"time"
)

const (
	simPacket   = 1200
	simAckDelay = 25 * time.Millisecond
)

// A simPkt is what a sender remembers of a packet.
type simPkt struct {
	at, firstSent, deliveredAt time.Duration
	delivered, lost            uint64
	size                       int32
	state                      uint8 // 0 in flight, 1 acknowledged, 2 lost
	app                        bool
	voiceAt                    time.Duration // when the voice it carries was made; negative: bulk
}

// A simSender runs a controller with RFC 9002's recovery and the rate samples of draft-ietf-ccwg-bbr.
type simSender struct {
	id      int
	cc      Controller
	paced   bool
	bulk    bool
	stop    time.Duration
	far     time.Duration
	appRate float64 // bits per second of an application that is not bulk
	pending int     // bytes the application has made
	voice   []time.Duration
	recv    simRecv

	pkts     []simPkt // base, base+1, …
	base     uint64
	next     uint64
	inFlight int
	limited  bool // the controller held sending back since the last acknowledgement

	srtt, rttvar, minRTT, latest time.Duration
	largest                      int64
	timerAt, sendAt              time.Duration
	lossAt                       time.Duration
	lastSent                     time.Duration
	backoff                      int
	probes                       int

	delivered, lost uint64
	deliveredAt     time.Duration
	firstSent       time.Duration
	appLimited      uint64
	tokens          float64
	filled          time.Duration
	ack             Ack
	voiceDelays     []time.Duration
	voiceFrom       time.Duration
	sent, lostN     int
	spurious        int
	marks           []rateMark // delivered every 100 ms
}

type rateMark struct {
	at    time.Duration
	bytes int64
}

// A simRecv acknowledges every second packet, and at once what comes after a gap.
type simRecv struct {
	expected uint64
	pending  []uint64
	newestAt time.Duration
	ackAt    time.Duration
	ce       int
	got      int64
	acks     []simAck
}

type simAck struct {
	pns   []uint64
	delay time.Duration
	ce    int
}

type senderOptions struct {
	start, stop time.Duration
	unpaced     bool
	app         float64 // bits per second instead of bulk
	voice       bool
	voiceOnly   bool
	far         time.Duration // more one-way delay than others, after the link
	demand      Demand
}

func (s *sim) add(cc Controller, o senderOptions) *simSender {
	f := &simSender{
		id: len(s.senders), cc: cc, paced: !o.unpaced, bulk: o.app == 0 && !o.voiceOnly, stop: o.stop, appRate: o.app, far: o.far,
		largest: -1, timerAt: -1, sendAt: -1, lossAt: -1,
	}
	if f.stop == 0 {
		f.stop = math.MaxInt64
	}
	s.senders = append(s.senders, f)
	cc.SetDemand(epoch, o.demand)
	if o.voice || o.voiceOnly {
		s.at(o.start+500*time.Microsecond, evVoice, f.id, 0, 0)
	}
	if o.app > 0 {
		s.at(o.start, evApp, f.id, 0, 0)
	}
	f.filled = o.start
	s.at(o.start, evSend, f.id, 0, 0)
	f.sendAt = o.start
	return f
}

func (f *simSender) voiceTick(s *sim) {
	if s.now >= f.stop {
		return
	}
	f.voice = append(f.voice, s.now)
	s.at(s.now+20*time.Millisecond, evVoice, f.id, 0, 0)
	f.send(s)
}

func (f *simSender) appTick(s *sim) {
	if f.bulk || s.now >= f.stop {
		return
	}
	const every = 10 * time.Millisecond
	f.pending += int(f.appRate / 8 * every.Seconds())
	s.at(s.now+every, evApp, f.id, 0, 0)
	f.send(s)
}

// content returns the size of the next packet, or zero.
func (f *simSender) content(s *sim) int {
	switch {
	case len(f.voice) > 0:
		return 240
	case s.now >= f.stop:
		return 0
	case f.bulk || f.pending >= simPacket:
		return simPacket
	}
	return 0
}

func (f *simSender) rate() float64 {
	if r := f.cc.PacingRate(); r > 0 {
		return r
	}
	return 1.25 * float64(f.cc.Window()) / max(f.srtt.Seconds(), 1e-3)
}

// send sends what may be sent.
func (f *simSender) send(s *sim) {
	rate := 0.0
	if f.paced {
		rate = f.rate()
		burst := max(10*simPacket, rate*0.001)
		if s.now > f.filled {
			f.tokens = min(f.tokens+rate*(s.now-f.filled).Seconds(), burst)
		}
		f.filled = s.now
	}
	for {
		size := f.content(s)
		if size == 0 {
			if f.inFlight+simPacket < f.cc.Window() {
				f.appLimited = f.delivered + uint64(f.inFlight) // the draft's CheckIfApplicationLimited
				f.appLimited = max(f.appLimited, 1)
			}
			break
		}
		if f.probes == 0 {
			if f.inFlight+simPacket > f.cc.Window() {
				f.limited = true
				break
			}
			if f.paced && f.tokens <= 0 {
				f.limited = true
				d := time.Duration((0.5*simPacket-f.tokens)/rate*1e9) + 1
				f.sendAt = s.now + max(d, time.Microsecond)
				s.at(f.sendAt, evSend, f.id, 0, 0)
				break
			}
		} else {
			f.probes--
		}
		f.transmit(s, size)
	}
	f.arm(s)
}

func (f *simSender) transmit(s *sim, size int) {
	p := simPkt{at: s.now, size: int32(size), voiceAt: -1}
	if len(f.voice) > 0 && size < simPacket {
		p.voiceAt = f.voice[0]
		f.voice = f.voice[1:]
	} else if !f.bulk {
		f.pending -= size
	}
	if f.inFlight == 0 {
		f.firstSent, f.deliveredAt = s.now, s.now
	}
	p.firstSent, p.deliveredAt, p.delivered, p.lost = f.firstSent, f.deliveredAt, f.delivered, f.lost
	p.app = f.appLimited > 0
	pn := f.next
	f.next++
	f.pkts = append(f.pkts, p)
	f.inFlight += size
	f.tokens -= float64(size)
	f.lastSent = s.now
	f.sent++
	f.cc.HandleSent(s.time(), pn, size, f.inFlight)
	s.link.offer(s, f.id, pn, size)
}

func (r *simRecv) arrive(s *sim, f *simSender, pn uint64, ce bool) {
	p := f.pkt(pn)
	r.got += int64(p.size)
	if n := len(f.marks); n == 0 || s.now-f.marks[n-1].at >= 100*time.Millisecond {
		f.marks = append(f.marks, rateMark{s.now, r.got})
	}
	if p.voiceAt >= f.voiceFrom {
		f.voiceDelays = append(f.voiceDelays, s.now-p.voiceAt)
	}
	if ce {
		r.ce++
	}
	gap := pn != r.expected
	r.expected = max(r.expected, pn+1)
	r.pending = append(r.pending, pn)
	r.newestAt = s.now
	if gap || ce || len(r.pending) >= 2 {
		r.ack(s, f)
	} else {
		r.ackAt = s.now + simAckDelay
		s.at(r.ackAt, evAckDelay, f.id, 0, 0)
	}
}

func (r *simRecv) ack(s *sim, f *simSender) {
	r.acks = append(r.acks, simAck{append([]uint64(nil), r.pending...), s.now - r.newestAt, r.ce})
	r.pending, r.ce, r.ackAt = r.pending[:0], 0, -1
	s.at(s.link.ackAt(s)+f.far, evAck, f.id, 0, 0)
}

func (f *simSender) pkt(pn uint64) *simPkt {
	if pn < f.base {
		return &simPkt{state: 1, voiceAt: -1, size: simPacket}
	}
	return &f.pkts[pn-f.base]
}

func (f *simSender) handleAck(s *sim) {
	ack := f.recv.acks[0]
	f.recv.acks = f.recv.acks[1:]
	a := &f.ack
	*a = Ack{PriorInFlight: f.inFlight, CE: ack.ce}
	a.Limited = f.limited
	var newest *simPkt
	var rs simPkt
	for _, pn := range ack.pns {
		p := f.pkt(pn)
		if p.state == 2 {
			f.spurious++
			p.state = 1
			f.cc.HandleSpurious(s.time(), epoch.Add(p.at))
		}
		if p.state != 0 {
			continue
		}
		p.state = 1
		f.inFlight -= int(p.size)
		f.delivered += uint64(p.size)
		f.deliveredAt = s.now
		a.Bytes += int(p.size)
		a.Packets++
		if newest == nil || pn > a.Largest {
			newest, a.Largest = p, pn
		}
		if rs.at == 0 && rs.size == 0 || p.delivered > rs.delivered || p.delivered == rs.delivered && p.at > rs.at {
			rs = *p
			f.firstSent = p.at
		}
	}
	if newest == nil {
		return
	}
	a.SentAt = epoch.Add(newest.at)
	if int64(a.Largest) > f.largest {
		f.largest = int64(a.Largest)
		a.RTT = max(s.now-newest.at-ack.delay, time.Microsecond)
		f.updateRTT(a.RTT)
	}
	if f.appLimited > 0 && f.delivered > f.appLimited {
		f.appLimited = 0
	}
	f.backoff, f.probes = 0, 0
	f.detect(s)
	a.InFlight, a.MinRTT, a.SmoothedRTT = f.inFlight, f.minRTT, f.srtt
	interval := max(rs.at-rs.firstSent, s.now-rs.deliveredAt)
	if interval >= f.minRTT {
		a.Rate = RateSample{
			Delivered: int(f.delivered - rs.delivered), Interval: interval, Prior: rs.delivered, Total: f.delivered,
			Lost: int(f.lost - rs.lost), AppLimited: rs.app,
		}
	}
	f.cc.HandleAck(s.time(), a)
	f.limited = false
	f.send(s)
}

func (f *simSender) updateRTT(rtt time.Duration) {
	f.latest = rtt
	if f.srtt == 0 {
		f.srtt, f.rttvar, f.minRTT = rtt, rtt/2, rtt
		return
	}
	f.minRTT = min(f.minRTT, rtt)
	f.rttvar += ((f.srtt - rtt).Abs() - f.rttvar) / 4
	f.srtt += (rtt - f.srtt) / 8
}

// detect finds losses. RFC 9002 §6.1.
func (f *simSender) detect(s *sim) {
	f.lossAt = -1
	delay := max(f.srtt, f.latest) * 9 / 8
	l := Loss{Prior: f.inFlight, SmoothedRTT: f.srtt, LatestRTT: f.latest, MinRTT: f.minRTT}
	for pn := f.base; int64(pn) < f.largest; pn++ {
		p := f.pkt(pn)
		if p.state != 0 {
			continue
		}
		if f.largest-int64(pn) < 3 && p.at+delay > s.now {
			if f.lossAt < 0 {
				f.lossAt = p.at + delay
			}
			continue
		}
		p.state = 2
		f.inFlight -= int(p.size)
		f.lost += uint64(p.size)
		f.lostN++
		l.Bytes += int(p.size)
		l.Packets++
		l.Largest, l.SentAt = pn, epoch.Add(p.at)
		if p.voiceAt < 0 && !f.bulk {
			f.pending += int(p.size)
		}
	}
	if l.Packets > 0 {
		l.InFlight = f.inFlight
		f.cc.HandleLoss(s.time(), &l)
	}
	for len(f.pkts) > 0 && f.pkts[0].state != 0 && (f.pkts[0].state == 1 || s.now-f.pkts[0].at > 3*delay) {
		f.pkts = f.pkts[1:]
		f.base++
	}
}

func (f *simSender) pto() time.Duration {
	if f.srtt == 0 {
		return time.Second / 3 << min(f.backoff, 6)
	}
	return (f.srtt + max(4*f.rttvar, time.Millisecond) + simAckDelay) << min(f.backoff, 6)
}

func (f *simSender) arm(s *sim) {
	at := time.Duration(-1)
	if f.lossAt >= 0 {
		at = f.lossAt
	} else if f.inFlight > 0 {
		at = f.lastSent + f.pto()
	}
	if at >= 0 && (f.timerAt < 0 || at < f.timerAt || f.timerAt <= s.now) {
		f.timerAt = max(at, s.now+1)
		s.at(f.timerAt, evTimer, f.id, 0, 0)
	}
}

func (f *simSender) handleTimer(s *sim) {
	switch {
	case f.lossAt >= 0 && f.lossAt <= s.now:
		f.detect(s)
	case f.lossAt < 0 && f.inFlight > 0 && f.lastSent+f.pto() <= s.now:
		f.backoff++
		f.probes = 2
		f.lastSent = s.now // also if there is nothing to probe with
	}
	f.send(s)
}

// bytes returns what was delivered from a to b.
func (f *simSender) bytes(a, b time.Duration) int64 {
	var x, y int64
	for _, m := range f.marks {
		if m.at <= a {
			x = m.bytes
		}
		if m.at <= b {
			y = m.bytes
		}
	}
	return y - x
}

// mbps returns the rate of delivery from a to b in Mbit/s.
func (f *simSender) mbps(a, b time.Duration) float64 {
	return float64(f.bytes(a, b)) * 8 / (b - a).Seconds() / 1e6
}
