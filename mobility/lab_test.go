// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mobility

import (
	"container/heap"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

// A lab is two machines with minimal drivers, joined by a network in virtual time. Each end has a socket behind a
// port-restricted NAT, whose public address can change at any moment; end A also has a relay allocation.
type lab struct {
	t    *testing.T
	now  time.Time
	rng  *rand.Rand
	q    events
	seq  int
	a, b *end

	natLife time.Duration // after which the NATs forget; zero: never
	loss    float64
	slow    func(from, to netip.AddrPort) time.Duration // added to the delay; nil: nothing
	blocked func(from, to netip.AddrPort) bool          // nil: nothing is
	packets int                                         // sent so far, by both
	log     []string
}

// An end is one peer.
type end struct {
	lab      *lab
	name     string
	m        *Machine
	socket   netip.AddrPort                  // as the world sees it
	relay    netip.AddrPort                  // of its allocation; invalid: none
	open     map[[2]netip.AddrPort]time.Time // since when it last sent there
	mapped   time.Time                       // when its socket last sent
	rebinds  int
	cone     bool // its NAT filters nothing
	down     bool // detached
	sent     int
	lastOut  time.Time // when it last sent by its current path, and the longest it did not
	quiet    time.Duration
	revived  int
	degraded int
	peer     *end
	pn       int
	largest  int
	lastData time.Time // when data last arrived
	gap      time.Duration
	switches int
	deads    int
	sendEach time.Duration // zero: no data
}

type packet struct {
	pn                      int
	data, ping, ack         bool
	isChallenge, isResponse bool
	path                    [8]byte
	size                    int
}

type event struct {
	at  time.Time
	seq int
	f   func()
}
type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at.Before(e[j].at) || e[i].at.Equal(e[j].at) && e[i].seq < e[j].seq
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	x := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return x
}

var labRelay = addr("198.51.100.1:40000")

// newLab begins a session that is relayed by A's allocation.
func newLab(t *testing.T, seed uint64) *lab {
	l := &lab{t: t, now: epoch, rng: rand.New(rand.NewPCG(seed, 7))}
	mk := func(name, socket string) *end {
		return &end{lab: l, name: name, socket: addr(socket), open: map[[2]netip.AddrPort]time.Time{}, largest: -1, lastData: epoch}
	}
	l.a, l.b = mk("A", "192.0.2.1:1"), mk("B", "203.0.113.1:1")
	l.a.peer, l.b.peer = l.b, l.a
	l.a.relay = labRelay
	l.a.m = New(l.now, Candidate{Key{1, l.b.socket}, Relayed}, &Config{Rand: seeded(2*seed + 1)})
	l.b.m = New(l.now, Candidate{Key{0, labRelay}, Relayed}, &Config{Rand: seeded(2*seed + 2), Second: true})
	return l
}

// introduce tells both ends each other's present address, as signaling does.
func (l *lab) introduce() {
	for _, e := range []*end{l.a, l.b} {
		e.m.HandleCandidate(l.now, Candidate{Key{0, e.peer.socket}, Direct})
		e.drain()
	}
}

func (l *lab) after(d time.Duration, f func()) {
	l.seq++
	heap.Push(&l.q, event{l.now.Add(d), l.seq, f})
}

// run lets time pass.
func (l *lab) run(d time.Duration) {
	l.t.Helper()
	until := l.now.Add(d)
	for range 5_000_000 {
		next := until
		if len(l.q) > 0 && l.q[0].at.Before(next) {
			next = l.q[0].at
		}
		var who *end
		for _, e := range []*end{l.a, l.b} {
			if at := e.m.NextTimeout(); !at.IsZero() && at.Before(next) {
				next, who = at, e
			}
		}
		if next.After(l.now) {
			l.now = next
		}
		switch {
		case who != nil:
			who.m.HandleTimeout(l.now)
			who.drain()
		case len(l.q) > 0 && !l.q[0].at.After(l.now) && l.q[0].at.Before(until):
			heap.Pop(&l.q).(event).f()
		default:
			l.now = until
			return
		}
	}
	l.t.Fatalf("%v: events without end", l.now.Sub(epoch))
}

// talk makes an end send data from now on, every d.
func (e *end) talk(d time.Duration) {
	e.sendEach = d
	var tick func()
	tick = func() {
		e.send(e.m.Current().Key, packet{data: true, size: 1000})
		e.lab.after(d, tick)
	}
	e.lab.after(d, tick)
}

func (e *end) drain() {
	for {
		a, ok := e.m.Poll(e.lab.now)
		if !ok {
			return
		}
		switch a.Op {
		case Challenge:
			e.send(a.Path.Key, packet{isChallenge: true, path: a.Data, size: challengeSize})
		case Response:
			e.send(a.Path.Key, packet{isResponse: true, path: a.Data, size: challengeSize})
		case Ping:
			e.send(a.Path.Key, packet{ping: true, size: 32})
		case Switch:
			e.switches++
			e.lab.log = append(e.lab.log, fmt.Sprintf("%8v %s: %s", e.lab.now.Sub(epoch), e.name, a.Why))
		case Alive:
			e.revived++
			e.lab.log = append(e.lab.log, fmt.Sprintf("%8v %s: alive: %s", e.lab.now.Sub(epoch), e.name, a.Why))
		case Degraded:
			e.degraded++
		case Dead:
			e.deads++
			e.lab.log = append(e.lab.log, fmt.Sprintf("%8v %s: dead: %s", e.lab.now.Sub(epoch), e.name, a.Why))
		}
	}
}

// send puts a packet on the network.
func (e *end) send(k Key, p packet) {
	l := e.lab
	if b := e.m.Budget(k); b < p.size {
		if p.isChallenge || p.isResponse {
			l.t.Fatalf("%s: the machine asks for more by %v than its budget of %d", e.name, k, b)
		}
		return
	}
	e.m.HandleSent(l.now, k, p.size)
	p.pn = e.pn
	e.pn++
	l.packets++
	e.sent++
	if k == e.m.Current().Key {
		e.quiet = max(e.quiet, l.now.Sub(e.lastOut))
		e.lastOut = l.now
	}
	src, delay := e.socket, 20*time.Millisecond
	if k.Via != 0 {
		src = e.relay
	}
	if k.Via != 0 || k.Remote == e.peer.relay {
		delay = 60 * time.Millisecond
	}
	if k.Via == 0 {
		if life := l.natLife; life > 0 && l.now.Sub(e.mapped) > life && !e.mapped.IsZero() {
			e.socket = netip.AddrPortFrom(e.socket.Addr(), e.socket.Port()+1) // forgotten: a new mapping
			src = e.socket
			e.rebinds++
		}
		e.mapped = l.now
		e.open[[2]netip.AddrPort{src, k.Remote}] = l.now
	}
	if l.slow != nil {
		delay += l.slow(src, k.Remote)
	}
	if l.rng.Float64() < l.loss || e.down || l.blocked != nil && l.blocked(src, k.Remote) {
		return
	}
	l.after(delay, func() {
		d := e.peer
		if d.down {
			return
		}
		switch {
		case k.Remote == d.relay:
			d.receive(Key{1, src}, p)
		case k.Remote == d.socket && (k.Via != 0 || d.lets(src)):
			d.receive(Key{0, src}, p) // a relay gets through only where it has been talked to, which it always has
		}
	})
}

// lets reports whether the NAT of e lets a packet in.
func (e *end) lets(src netip.AddrPort) bool {
	at, ok := e.open[[2]netip.AddrPort{e.socket, src}]
	fresh := e.lab.natLife == 0 || e.lab.now.Sub(at) <= e.lab.natLife
	return e.cone || ok && fresh
}

func (e *end) receive(k Key, p packet) {
	now := e.lab.now
	newest := p.pn > e.largest
	e.largest = max(e.largest, p.pn)
	e.m.HandleReceived(now, k, p.size, newest && !p.isChallenge && !p.isResponse)
	e.drain()
	if p.isChallenge {
		e.m.HandleChallenge(now, k, p.path)
		e.drain()
	}
	if p.isResponse {
		e.m.HandleResponse(now, k, p.path)
		e.drain()
	}
	if p.data {
		e.gap = max(e.gap, now.Sub(e.lastData))
		e.lastData = now
	}
	if p.data || p.ping {
		e.lab.after(5*time.Millisecond, func() { e.send(e.m.Current().Key, packet{ack: true, size: 40}) })
	}
}

// resetGaps begins a new measurement of the longest time without data.
func (l *lab) resetGaps() {
	for _, e := range []*end{l.a, l.b} {
		e.gap, e.lastData = 0, l.now
	}
}

func (l *lab) dump() {
	l.t.Helper()
	for _, s := range l.log {
		l.t.Log(s)
	}
}

func (l *lab) wantKind(why string, k Kind) {
	l.t.Helper()
	for _, e := range []*end{l.a, l.b} {
		if got := e.m.Current(); got.Kind != k || !got.Validated {
			l.dump()
			l.t.Fatalf("%s: %s uses the %v (validated %v), want a %v path", why, e.name, got, got.Validated, k)
		}
		if k == Direct && e.m.Current().Remote != e.peer.socket {
			l.dump()
			l.t.Fatalf("%s: %s sends to %v, its peer is at %v", why, e.name, e.m.Current(), e.peer.socket)
		}
		if got := e.m.Budget(e.m.Current().Key); got != math.MaxInt {
			l.t.Fatalf("%s: the current path of %s has budget %d", why, e.name, got)
		}
	}
}
