// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mobility

import (
	"net/netip"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// A strategy is what one side does in an attempt.
type strategy uint8

const (
	doNothing      strategy = iota
	bePredicted             // our ports are in sequence: say where the next are, and send from them
	openForPeer             // the peer's are: send to where it says they will be, so that our filter lets them in
	meetDiagonally          // both are: aim each packet at the port from which the peer's is to come
	beFound                 // our ports are random: open many
	searchForPeer           // the peer's are: try many
	hopeless
)

func (s strategy) String() string {
	switch s {
	case bePredicted, openForPeer:
		return "port prediction"
	case meetDiagonally:
		return "two-sided port prediction"
	case beFound, searchForPeer:
		return "the birthday search"
	}
	return "nothing"
}

// choose returns the strategy for a side whose NAT is a against a peer whose NAT is b, and why there is none. Both sides
// come to the same.
func choose(a, b NATClass) (strategy, string) {
	hard := func(c NATClass) bool { // what is not known is taken to be: two that meet by themselves need no help
		return c.Mapping == MappingDependent || c.Mapping == MappingUnknown
	}
	sequential := func(c NATClass) bool { return c.Ports == PortsSequential && c.Step != 0 }
	random := func(c NATClass) bool { return c.Ports == PortsRandom || c.Ports == PortsParity }
	x, y := hard(a), hard(b)
	switch {
	case a.Mapping == MappingBlocked || b.Mapping == MappingBlocked:
		return hopeless, "UDP does not pass on one side; allow UDP there"
	case a.Mapping == MappingUnknown && b.Mapping == MappingUnknown && !(sequential(a) && sequential(b)):
		return hopeless, "neither side knows how its NAT maps; have the rendezvous hand out a second STUN address or port"
	case !x && !y:
		return hopeless, "neither NAT is of the hard kind; a firewall is in the way"
	case x && a.Ports == PortsUnknown || y && b.Ports == PortsUnknown:
		return hopeless, "no STUN server has said by what rule ports are chosen"
	case x && y && sequential(a) && sequential(b):
		return meetDiagonally, ""
	case x && y:
		return hopeless, "both NATs choose a new port for each destination, one of them at random; " +
			"a port mapping, IPv6 or a kinder NAT on either side would help"
	case x && sequential(a):
		return bePredicted, ""
	case y && sequential(b):
		return openForPeer, ""
	case x && random(a):
		return beFound, ""
	case y && random(b):
		return searchForPeer, ""
	}
	return hopeless, "ports are preserved, and the direct path is blocked all the same"
}

// inner reports whether an address means something else in other networks: behind a NAT that stands behind another, or
// a carrier's (RFC 6598). A peer must not send us looking for ports within a network of ours.
func inner(ip netip.Addr) bool {
	return ip.IsPrivate() || netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64}), 10).Contains(ip)
}

// classes says what the two NATs are, for a report.
func (p *Puncher) classes() string {
	return "(" + p.class.String() + " here, " + peerClass(&p.peer).String() + " there)"
}

func peerClass(m *wire.Punch) NATClass {
	return NATClass{Mapping: Mapping(m.Mapping), Ports: PortRule(m.Ports), Step: m.Stride}
}

// meet begins to act: both sides know of each other's NAT.
func (p *Puncher) meet(now time.Time) {
	run, why := choose(p.class, peerClass(&p.peer))
	switch {
	case run == hopeless:
	case !p.peer.Addr.IsValid() || !p.c.Usable(p.peer.Addr) || inner(p.peer.Addr.Addr()) != inner(p.addr.Addr()):
		run, why = hopeless, "the peer's address is of no use here"
	case (run == beFound || run == searchForPeer) && p.c.GoodRelay > 0 && p.rtt > 0 && p.rtt <= p.c.GoodRelay:
		run, why = hopeless, "a birthday search is not worth it: the relay is near enough"
	}
	if run == hopeless {
		p.tell(now) // the peer may not have heard ours and is to come to the same
		p.finish(now, why+" "+p.classes(), false)
		p.nextAt = now.Add(max(p.retry, hopelessRetry)) // waiting changes no NAT
		return
	}
	p.state, p.run, p.tells, p.lastPeer = punchRun, run, 0, now
	p.tell(now) // the hello once more, for the same reason
	p.deadline = now.Add(p.patience())
	clear(p.samples)
	switch run {
	case bePredicted:
		p.predict(now)
	case meetDiagonally:
		if p.c.Conductor {
			p.conduct(now)
		} else {
			p.deadline = time.Time{}
		}
	case openForPeer:
		p.deadline = time.Time{}
		p.status = p.message(wire.PunchReady)
	case beFound, searchForPeer:
		p.deadline = time.Time{}
		p.status = p.message(wire.PunchSearch)
		p.birthday.begin(p, run == searchForPeer)
	}
	p.pump(now)
}

func (p *Puncher) nextRound(now time.Time, round uint64) {
	p.round = round
	p.closeAll()
	p.plan, p.asks, p.ready, p.mine, p.fired = nil, nil, nil, nil, false
	clear(p.samples)
	p.deadline = now.Add(max(6*p.rtt, 800*time.Millisecond))
}

// slots opens n sockets and returns the number of the first.
func (p *Puncher) slots(n int) int {
	first := p.nextSlot + 1
	p.nextSlot += n
	for i := range n {
		p.open(first + i)
	}
	return first
}

// predict has the NAT make mappings for packets to the peer between two that a STUN server sees, so that their ports
// are known however far the sequence has come.
func (p *Puncher) predict(now time.Time) {
	p.nextRound(now, p.round+1)
	p.status = p.message(wire.PunchHello) // until the ports are known
	p.status.Addr = p.addr
	first := p.slots(predicted + 2)
	p.ask(now, first, false)
	for i := range predicted {
		p.push(PunchAction{Op: PunchProbe, Slot: first + 1 + i, Addr: p.peer.Addr})
		p.count(now)
		for _, d := range []int{1, 2, 4, 8} {
			p.send(now.Add(time.Duration(d)*max(p.rtt, 40*time.Millisecond)), first+1+i, p.peer.Addr)
		}
	}
	p.ask(now, first+predicted+1, false)
}

// portsSeen is called when STUN servers have said something about the ports here.
func (p *Puncher) portsSeen(now time.Time) {
	switch {
	case p.run == bePredicted && p.status.Phase != wire.PunchReady:
		first := p.nextSlot - predicted - 1
		a, ok := p.samples[first]
		b, ok2 := p.samples[p.nextSlot]
		if !ok || !ok2 {
			return
		}
		p.status = p.message(wire.PunchReady)
		p.status.Addr = a.mapped
		p.status.Count = predicted
		if n := (int(b.mapped.Port())-int(a.mapped.Port()))/p.class.Step - 1; n > 0 && n <= maxStep {
			p.status.Count = n
		}
		p.tell(now)
	case p.run == meetDiagonally && p.mine == nil:
		a, ok := p.samples[p.nextSlot]
		if !ok {
			return
		}
		m := p.message(wire.PunchReady)
		m.Addr = a.mapped
		p.mine, p.status = &m, m
		p.tell(now)
		p.fire(now)
	}
}

// openForPredicted sends to the ports that the peer's packets come from, and a few around.
func (p *Puncher) openForPredicted(now time.Time, m *wire.Punch) {
	if !p.named(m.Addr) || m.Stride == 0 {
		return
	}
	at := func(i int) netip.AddrPort {
		port := int(m.Addr.Port()) + i*m.Stride
		if port < 1 || port > 65535 {
			port = 0
		}
		return netip.AddrPortFrom(m.Addr.Addr(), uint16(port))
	}
	count := min(max(m.Count, 1), 64)
	p.plan = nil
	unit := max(p.rtt, 40*time.Millisecond)
	for _, t := range []time.Time{now, now.Add(2 * unit), now.Add(6 * unit)} {
		for i := 1; i <= count; i++ {
			p.send(t, 0, at(i))
		}
		for i := range 4 * int(min(m.Round, 4)) {
			p.send(t, 0, at(count+1+i))
		}
	}
	p.pump(now)
}

// conduct begins a round in which both sides aim at each other's next ports.
func (p *Puncher) conduct(now time.Time) {
	p.nextRound(now, p.round+1)
	p.status = p.message(wire.PunchGo)
	p.tell(now)
	p.sampleAt = now.Add(p.rtt / 2) // when the peer does
}

// lookAtPorts learns where the sequence has come to.
func (p *Puncher) lookAtPorts(now time.Time) {
	if p.run == meetDiagonally {
		p.ask(now, p.slots(1), false)
	}
}

// fire sends the packets of a round when the ports of both sides are known. The i-th mapping from now on has port
// base + i·step on either side, but for the mappings that others have made since. One side aims its i-th packet at the
// other's i-th port, and the other aims further and further ahead: wherever both NATs have got to, two packets meet, if
// together they are not too far.
func (p *Puncher) fire(now time.Time) {
	if p.fired || p.mine == nil || p.ready == nil || !p.named(p.ready.Addr) {
		return
	}
	p.fired = true
	slot := p.slots(1)
	n := diagonal
	ahead := int(p.round+1) % 2 * diagonal / 4 // every second round is for busy networks
	if p.c.Conductor {
		n += drift(n) + diagonal/4
	}
	for i := 1; i <= n; i++ {
		aim := i
		if !p.c.Conductor {
			aim = i + drift(i) + ahead
		}
		port := int(p.ready.Addr.Port()) + aim*p.ready.Stride
		if port < 1 || port > 65535 {
			continue
		}
		to := netip.AddrPortFrom(p.ready.Addr.Addr(), uint16(port))
		p.send(now, slot, to)
		p.send(now.Add(max(p.rtt, 100*time.Millisecond)), slot, to)
	}
	p.pump(now)
}

// drift is how far ahead the responder aims its i-th packet: not at all at first, for nobody else may have used ports.
func drift(i int) int { return max(i-3, 0) / 3 }

// roundOver is called when a round has had its time.
func (p *Puncher) roundOver(now time.Time) {
	switch {
	case p.winning().After(now):
		p.deadline = p.winning() // the path machine is at work on it
	case p.round >= maxRounds && (p.run == bePredicted || p.run == meetDiagonally && p.c.Conductor):
		p.finish(now, p.run.String()+" has not met in all its rounds "+p.classes(), true)
	case p.run == bePredicted:
		p.predict(now)
	case p.run == meetDiagonally && p.c.Conductor:
		p.conduct(now)
	}
}
