// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package congestion

import (
	"math/rand/v2"
	"slices"
	"time"
)

// A sim is a bottleneck link with senders on one side and receivers on the other, in virtual time. The same seed gives
// the same run, to the byte.
type sim struct {
	now     time.Duration
	events  eventHeap
	order   uint64
	rng     *rand.Rand
	link    *simLink
	senders []*simSender
}

type eventKind uint8

const (
	evDepart eventKind = iota // the link is done with the packet at its head
	evArrive                  // a packet reaches its receiver
	evAckDelay
	evAck // an acknowledgement reaches the sender
	evSend
	evTimer
	evVoice
	evApp
	evDemand
)

type event struct {
	at    time.Duration
	order uint64
	kind  eventKind
	flow  int32
	arg   int64
	arg2  int64
}

// An eventHeap is a binary heap without interfaces: runs are long.
type eventHeap []event

func (a *event) before(b *event) bool { return a.at < b.at || a.at == b.at && a.order < b.order }

func (h *eventHeap) push(e event) {
	s := append(*h, e)
	i := len(s) - 1
	for i > 0 {
		p := (i - 1) / 2
		if !e.before(&s[p]) {
			break
		}
		s[i] = s[p]
		i = p
	}
	s[i] = e
	*h = s
}

func (h *eventHeap) pop() event {
	s := *h
	top, e := s[0], s[len(s)-1]
	s = s[:len(s)-1]
	*h = s
	if len(s) == 0 {
		return top
	}
	i := 0
	for {
		c := 2*i + 1
		if c >= len(s) {
			break
		}
		if c+1 < len(s) && s[c+1].before(&s[c]) {
			c++
		}
		if !s[c].before(&e) {
			break
		}
		s[i] = s[c]
		i = c
	}
	s[i] = e
	return top
}

func newSim(seed uint64, l simLink) *sim {
	l.tokens = float64(l.buffer)
	s := &sim{rng: rand.New(rand.NewPCG(seed, 0x77656972)), link: &l}
	return s
}

func (s *sim) at(t time.Duration, kind eventKind, flow int, arg, arg2 int64) {
	s.order++
	s.events.push(event{max(t, s.now), s.order, kind, int32(flow), arg, arg2})
}

// time converts virtual time to what controllers are given.
func (s *sim) time() time.Time { return epoch.Add(s.now) }

func (s *sim) run(until time.Duration) {
	for len(s.events) > 0 && s.events[0].at <= until {
		e := s.events.pop()
		s.now = e.at
		var f *simSender
		if int(e.flow) < len(s.senders) {
			f = s.senders[e.flow]
		}
		switch e.kind {
		case evDepart:
			s.link.depart(s)
		case evArrive:
			f.recv.arrive(s, f, uint64(e.arg), e.arg2 != 0)
		case evAckDelay:
			if f.recv.ackAt == e.at {
				f.recv.ack(s, f)
			}
		case evAck:
			f.handleAck(s)
		case evSend:
			if f.sendAt == e.at {
				f.sendAt = -1
				f.send(s)
			}
		case evTimer:
			if f.timerAt == e.at {
				f.timerAt = -1
				f.handleTimer(s)
			}
		case evVoice:
			f.voiceTick(s)
		case evApp:
			f.appTick(s)
		case evDemand:
			f.cc.SetDemand(s.time(), Demand{TimeCritical: e.arg&1 != 0, Yield: e.arg&2 != 0})
		}
	}
	s.now = until
}

// A simLink is a queue before a rate, then the air.
type simLink struct {
	rate   float64 // bits per second
	steps  []rateStep
	buffer int           // bytes; drop-tail
	delay  time.Duration // one way
	loss   float64       // of what left the queue
	jitter time.Duration // most between two releases of what has gathered, each way, as Wi-Fi does it
	mark   int           // bytes of queue from which packets are marked; 0: never
	police bool          // no queue: a token bucket of buffer bytes drops what exceeds it
	ackGap time.Duration // acknowledgements come in bursts, that far apart

	queue  []queued
	head   int
	bytes  int
	busy   bool
	tokens float64
	filled time.Duration
	gates  [2]time.Duration // next release, of data and of acknowledgements

	served  int64 // bytes put on the wire
	dropped int64 // packets
	waits   []wait
}

type rateStep struct {
	at   time.Duration
	rate float64
}

type queued struct {
	flow int
	pn   uint64
	size int
	at   time.Duration
	mark bool
}

// A wait is how long one packet stood in the queue.
type wait struct {
	at, d time.Duration
	size  int
}

func (l *simLink) rateAt(now time.Duration) float64 {
	r := l.rate
	for _, st := range l.steps {
		if now >= st.at {
			r = st.rate
		}
	}
	return r / 8
}

func (l *simLink) offer(s *sim, flow int, pn uint64, size int) {
	if l.police {
		r := l.rateAt(s.now)
		l.tokens = min(l.tokens+r*(s.now-l.filled).Seconds(), float64(l.buffer))
		l.filled = s.now
		if l.tokens < float64(size) {
			l.dropped++
			return
		}
		l.tokens -= float64(size)
		l.pass(s, queued{flow, pn, size, s.now, false})
		return
	}
	if l.bytes+size > l.buffer {
		l.dropped++
		return
	}
	l.queue = append(l.queue, queued{flow, pn, size, s.now, l.mark > 0 && l.bytes >= l.mark})
	l.bytes += size
	if !l.busy {
		l.busy = true
		s.at(s.now+l.txTime(s.now, size), evDepart, 0, 0, 0)
	}
}

func (l *simLink) txTime(now time.Duration, size int) time.Duration {
	return time.Duration(float64(size) / l.rateAt(now) * 1e9)
}

func (l *simLink) depart(s *sim) {
	p := l.queue[l.head]
	l.head++
	l.bytes -= p.size
	if l.head == len(l.queue) {
		l.queue, l.head, l.busy = l.queue[:0], 0, false
	} else {
		if l.head > 4096 {
			l.queue = l.queue[:copy(l.queue, l.queue[l.head:])]
			l.head = 0
		}
		s.at(s.now+l.txTime(s.now, l.queue[l.head].size), evDepart, 0, 0, 0)
	}
	l.pass(s, p)
}

func (l *simLink) pass(s *sim, p queued) {
	l.served += int64(p.size)
	l.waits = append(l.waits, wait{s.now, s.now - p.at - l.txTime(p.at, p.size), p.size})
	if l.loss > 0 && s.rng.Float64() < l.loss {
		return
	}
	mark := int64(0)
	if p.mark {
		mark = 1
	}
	s.at(l.release(s, 0, s.now+l.delay)+s.senders[p.flow].far, evArrive, p.flow, int64(p.pn), mark)
}

// release returns when what would arrive at t does arrive.
func (l *simLink) release(s *sim, way int, t time.Duration) time.Duration {
	// Hosts are not exact either.
	t = max(t+time.Duration(s.rng.Int64N(int64(l.delay/100)+1)), l.gates[way])
	if l.jitter == 0 {
		l.gates[way] = t
		return t
	}
	for l.gates[way] < t {
		l.gates[way] += l.jitter/5 + time.Duration(s.rng.Int64N(int64(l.jitter*4/5)))
	}
	return l.gates[way]
}

// ackAt returns when an acknowledgement sent now arrives.
func (l *simLink) ackAt(s *sim) time.Duration {
	t := l.release(s, 1, s.now+l.delay)
	if l.ackGap > 0 {
		t = (t + l.ackGap - 1).Truncate(l.ackGap)
	}
	return t
}

// queueDelay returns the q-quantile of the waits of all bytes from a to b.
func (l *simLink) queueDelay(q float64, a, b time.Duration) time.Duration {
	var ds []time.Duration
	for _, w := range l.waits {
		if w.at >= a && w.at < b {
			ds = append(ds, w.d)
		}
	}
	return quantile(ds, q)
}

func quantile(ds []time.Duration, q float64) time.Duration {
	if len(ds) == 0 {
		return 0
	}
	slices.Sort(ds)
	return ds[min(int(q*float64(len(ds))), len(ds)-1)]
}
