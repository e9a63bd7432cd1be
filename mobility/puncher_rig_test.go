// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mobility_test

import (
	"container/heap"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
	"github.com/seed-98f0d4c2/runnel/mobility"
)

// A testNAT is a NAT with filtering by address and port.
type testNAT struct {
	step       int  // of ports in sequence; 0: at random
	dependent  bool // a port for each destination
	limit      int  // mappings; 0: any number
	background float64
	evict      bool // at the limit the oldest mapping goes, else there is no new one

	ip       netip.Addr
	rng      *rand.Rand
	next     int
	lastAt   time.Time
	mappings map[natKey]uint16
	age      []natKey
	filter   map[uint16]map[netip.AddrPort]bool
	owner    map[uint16]int // socket
}

type natKey struct {
	sock int
	dst  netip.AddrPort
}

func (n *testNAT) init(ip string, rng *rand.Rand) {
	n.ip, n.rng = netip.MustParseAddr(ip), rng
	n.next = 20000 + rng.IntN(20000)
	n.mappings = make(map[natKey]uint16)
	n.filter = make(map[uint16]map[netip.AddrPort]bool)
	n.owner = make(map[uint16]int)
}

// out returns the source that a packet gets, if any.
func (n *testNAT) out(now time.Time, sock int, dst netip.AddrPort) (netip.AddrPort, bool) {
	if n.background > 0 && n.step != 0 && !n.lastAt.IsZero() { // others make mappings as well
		gap := func() time.Duration { return time.Duration(n.rng.ExpFloat64() / n.background * float64(time.Second)) }
		for at := n.lastAt.Add(gap()); at.Before(now); at = at.Add(gap()) {
			n.next += n.step
		}
	}
	n.lastAt = now
	k := natKey{sock: sock}
	if n.dependent {
		k.dst = dst
	}
	port, ok := n.mappings[k]
	if !ok {
		if n.limit > 0 && len(n.mappings) >= n.limit {
			if !n.evict {
				return netip.AddrPort{}, false
			}
			old := n.age[0]
			n.age = n.age[1:]
			delete(n.owner, n.mappings[old])
			delete(n.mappings, old)
		}
		for {
			if n.step != 0 {
				if n.next += n.step; n.next < 1024 || n.next > 65535 {
					n.next = 30000
				}
				port = uint16(n.next)
			} else {
				port = uint16(1024 + n.rng.IntN(64512))
			}
			if _, taken := n.owner[port]; !taken {
				break
			}
		}
		n.mappings[k], n.owner[port] = port, sock
		n.age = append(n.age, k)
		n.filter[port] = make(map[netip.AddrPort]bool)
	}
	n.filter[port][dst] = true
	return netip.AddrPortFrom(n.ip, port), true
}

func (n *testNAT) in(src netip.AddrPort, port uint16) (sock int, ok bool) {
	sock, ok = n.owner[port]
	return sock, ok && n.filter[port][src]
}

type rigEvent struct {
	at  time.Time
	seq int
	f   func()
}

type rigQueue []rigEvent

func (q rigQueue) Len() int { return len(q) }
func (q rigQueue) Less(i, j int) bool {
	return q[i].at.Before(q[j].at) || q[i].at.Equal(q[j].at) && q[i].seq < q[j].seq
}
func (q rigQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *rigQueue) Push(x any)   { *q = append(*q, x.(rigEvent)) }
func (q *rigQueue) Pop() any {
	old := *q
	e := old[len(old)-1]
	*q = old[:len(old)-1]
	return e
}

type punchSide struct {
	*mobility.Puncher
	nat    *testNAT
	ip     netip.Addr
	socks  map[int]int // slot → socket
	nsock  int
	open   int
	most   int
	probes int
	told   int
	done   []string
	other  *punchSide
}

// punchRig is two punchers with NATs between them, a relay and a STUN server, in plain time.
type punchRig struct {
	t      *testing.T
	now    time.Time
	q      rigQueue
	seq    int
	rng    *rand.Rand
	oneWay time.Duration
	loss   float64
	blind  bool // no probe arrives
	sides  [2]*punchSide
	direct time.Time
	began  time.Time
	from   func(*punchSide) // sees every probe
}

var stunA, stunB = netip.MustParseAddrPort("192.0.2.1:3478"), netip.MustParseAddrPort("192.0.2.1:3479")

func newPunchRig(t *testing.T, seed uint64, a, b *testNAT, c mobility.PunchConfig) *punchRig {
	t.Helper()
	r := &punchRig{
		t: t, now: time.Unix(1e9, 0), rng: rand.New(rand.NewPCG(seed, 1)), oneWay: 20 * time.Millisecond,
	}
	r.began = r.now
	for i, nat := range []*testNAT{a, b} {
		nat.init([]string{"198.51.100.1", "203.0.113.1"}[i], r.rng)
		c.Conductor = i == 0
		c.Rand = func(b []byte) {
			for i := range b {
				b[i] = byte(r.rng.Uint32())
			}
		}
		r.sides[i] = &punchSide{Puncher: mobility.NewPuncher(&c), nat: nat, ip: nat.ip, socks: map[int]int{0: 0}}
	}
	r.sides[0].other, r.sides[1].other = r.sides[1], r.sides[0]
	for _, s := range r.sides {
		r.locate(s)
		s.SetRTT(4 * r.oneWay)
		r.after(0, func() { s.Start(r.now); r.drain(s) })
	}
	return r
}

// locate tells a side how STUN servers see its own socket.
func (r *punchRig) locate(s *punchSide) {
	answers := make(map[netip.AddrPort]netip.AddrPort)
	for _, server := range []netip.AddrPort{stunA, stunB} {
		if src, ok := s.nat.out(r.now, 0, server); ok {
			answers[server] = src
		}
	}
	s.SetLocal(mobility.ClassifyMapping(answers, nil), answers[stunA], []netip.AddrPort{stunA, stunB})
}

func (r *punchRig) after(d time.Duration, f func()) {
	r.seq++
	heap.Push(&r.q, rigEvent{r.now.Add(d), r.seq, f})
}

// run goes on until nothing more happens or the time is over.
func (r *punchRig) run(d time.Duration) {
	end := r.now.Add(d)
	for steps := 0; ; steps++ {
		if steps > 1e6 {
			r.t.Fatal("the machines do not come to rest")
		}
		next := end
		if len(r.q) > 0 && r.q[0].at.Before(next) {
			next = r.q[0].at
		}
		var timer *punchSide
		for _, s := range r.sides {
			if at := s.NextTimeout(); !at.IsZero() && at.Before(next) {
				next, timer = at, s
			}
		}
		if next.After(r.now) {
			r.now = next
		}
		switch {
		case timer != nil:
			timer.HandleTimeout(r.now)
			r.drain(timer)
		case len(r.q) > 0 && !r.q[0].at.After(r.now):
			heap.Pop(&r.q).(rigEvent).f()
		default:
			return
		}
	}
}

func (r *punchRig) lost() bool { return r.rng.Float64() < r.loss }

func (r *punchRig) drain(s *punchSide) {
	for {
		a, ok := s.Poll()
		if !ok {
			return
		}
		switch a.Op {
		case mobility.PunchOpen:
			s.nsock++
			s.socks[a.Slot] = s.nsock
			s.open++
			s.most = max(s.most, s.open)
		case mobility.PunchClose:
			if _, ok := s.socks[a.Slot]; !ok || a.Slot == 0 {
				r.t.Fatalf("closes slot %d, which is not open", a.Slot)
			}
			delete(s.socks, a.Slot)
			s.open--
		case mobility.PunchTell:
			s.told++
			_, body, _, _ := wire.NextChunk(wire.AppendPunch(nil, &a.Msg))
			if r.lost() {
				continue
			}
			r.after(2*r.oneWay, func() {
				m, err := wire.ParsePunch(body)
				if err != nil {
					r.t.Fatalf("cannot read %+v: %v", a.Msg, err)
				}
				s.other.HandlePeer(r.now, &m)
				r.drain(s.other)
			})
		case mobility.PunchAsk:
			sock, slot := s.socks[a.Slot], a.Slot
			src, ok := s.nat.out(r.now, sock, a.Addr)
			if !ok || r.lost() {
				continue
			}
			r.after(2*r.oneWay, func() {
				if s.socks[slot] == sock {
					s.HandleMapped(r.now, slot, uint16(40000+sock), src)
					r.drain(s)
				}
			})
		case mobility.PunchProbe:
			s.probes++
			if r.from != nil {
				r.from(s)
			}
			if a.Addr.Addr() != s.other.ip {
				r.t.Fatalf("probe to %v, which is not the peer's", a.Addr)
			}
			src, ok := s.nat.out(r.now, s.socks[a.Slot], a.Addr)
			if ok && !r.lost() && !r.blind {
				r.after(2*r.oneWay, func() { r.arrive(s.other, src, a.Addr.Port()) })
			}
		case mobility.PunchTry:
			slot := a.Slot
			r.after(4*r.oneWay, func() {
				if _, ok := s.socks[slot]; !ok {
					r.t.Fatalf("slot %d is closed while its path is validated", slot)
				}
				if r.direct.IsZero() {
					r.direct = r.now
				}
				for _, s := range r.sides {
					s.HandleDirect(r.now)
					r.drain(s)
				}
			})
		case mobility.PunchDone:
			s.done = append(s.done, a.Why)
		}
	}
}

func (r *punchRig) arrive(s *punchSide, src netip.AddrPort, port uint16) {
	sock, ok := s.nat.in(src, port)
	if !ok {
		return
	}
	for slot, x := range s.socks {
		if x == sock {
			s.HandleHit(r.now, slot, src)
			r.drain(s)
			return
		}
	}
}
