// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mobility

import (
	"net/netip"
	"slices"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// HandlePeer takes a PUNCH chunk of the peer.
func (p *Puncher) HandlePeer(now time.Time, m *wire.Punch) {
	p.lastPeer = now
	if m.Phase == wire.PunchHello {
		p.handleHello(now, m)
		return
	}
	if m.Attempt != p.attempt || p.state != punchRun {
		return
	}
	switch m.Phase {
	case wire.PunchStop:
		p.finish(now, "the peer has given up", false)
	case wire.PunchGo:
		if p.run == meetDiagonally && !p.c.Conductor && m.Round > p.round {
			p.nextRound(now, m.Round)
			p.lookAtPorts(now)
		}
	case wire.PunchReady:
		switch {
		case p.run == meetDiagonally && !p.c.Conductor && m.Round > p.round: // GO was lost
			p.nextRound(now, m.Round)
			p.ready = m
			p.lookAtPorts(now)
		case p.run == meetDiagonally && m.Round == p.round && p.ready == nil:
			p.ready = m
			p.fire(now)
		case p.run == openForPeer && m.Round > p.round:
			p.round = m.Round
			p.status = p.message(wire.PunchReady)
			p.openForPredicted(now, m)
		}
	}
}

// handleHello takes what the peer says of its NAT, which may begin an attempt.
func (p *Puncher) handleHello(now time.Time, m *wire.Punch) {
	switch {
	case (p.state == punchRun || p.state == punchFailed) && m.Attempt == p.attempt:
		if p.status.Phase != wire.PunchHello && p.replied < maxReplied { // it has not heard ours
			p.replied++
			hello := p.message(wire.PunchHello)
			hello.Addr = p.addr
			p.push(PunchAction{Op: PunchTell, Msg: hello})
		}
		return
	case m.Attempt < p.attempt || p.state == punchWon:
		return
	case m.Attempt > p.attempt && (p.state == punchLearn || p.state == punchHello):
		p.attempt = m.Attempt
		p.status.Attempt = m.Attempt
	case m.Attempt > p.attempt:
		wait := p.nextJoin
		if m.Addr != p.peer.Addr { // its network has changed
			wait = wait.Add(joinSoon - joinEvery)
		}
		if now.Before(wait) && p.state != punchIdle {
			return
		}
		p.begin(now, m.Attempt)
	case p.state != punchLearn && p.state != punchHello:
		return
	}
	p.peer, p.peerSaid, p.deaf = *m, true, 0
	if p.state == punchHello {
		p.meet(now)
	}
}

// HandleMapped says that a STUN server has seen the socket of slot, whose own port is local, as mapped.
func (p *Puncher) HandleMapped(now time.Time, slot int, local uint16, mapped netip.AddrPort) {
	for i, a := range p.asks {
		if a.slot != slot {
			continue
		}
		p.asks = slices.Delete(p.asks, i, i+1)
		switch {
		case !a.canary:
		case slot != 0:
			p.birthday.bears(slot)
		case mapped != p.addr && p.addr.IsValid() && p.state == punchRun:
			p.finish(now, "the NAT forgets mappings that are in use; given up to spare the network", true)
			return
		}
		break
	}
	p.samples[slot] = sample{local, mapped}
	switch {
	case p.state == punchLearn && len(p.samples) == learnSockets:
		p.learnt(now)
	case p.state == punchRun:
		p.portsSeen(now)
		p.pump(now)
	}
}

// HandleHit says that an authentic packet of the peer has arrived by slot from an address which the session does not
// use.
func (p *Puncher) HandleHit(now time.Time, slot int, from netip.AddrPort) {
	k := Key{Via: int32(slot), Remote: from}
	if p.state != punchRun || slot != 0 && !p.opened[slot] || !p.named(from) || len(p.hits) >= maxHits || slices.Contains(p.hits, k) {
		return
	}
	p.hits = append(p.hits, k)
	p.hitAt = now
	p.push(PunchAction{Op: PunchTry, Slot: slot, Addr: from})
}

// named reports whether the peer has named the host of an address as its own.
func (p *Puncher) named(a netip.AddrPort) bool {
	return p.peerSaid && p.peer.Addr.IsValid() && a.Addr() == p.peer.Addr.Addr()
}

// HandleDistress says that the network here suffers: sockets that cannot be opened, loss by the relay, a limit that is reached. The
// search goes on at half the rate with the sockets that are open; the third time it ends.
func (p *Puncher) HandleDistress(now time.Time, what string) {
	if p.state != punchRun {
		return
	}
	p.distress++
	p.rate = max(p.rate/2, punchFloor)
	if p.run == beFound {
		p.birthday.exhausted(p)
		p.asks = slices.DeleteFunc(p.asks, func(a ask) bool { return a.canary && a.slot != 0 })
	}
	if p.distress >= 3 && (p.run == beFound || p.run == searchForPeer) { // predictions cost little
		p.finish(now, what+"; given up to spare the network", true)
	}
}

// NextTimeout returns when HandleTimeout must be called, or the zero time.
func (p *Puncher) NextTimeout() time.Time {
	next := p.tellAt
	at := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	at(p.deadline)
	at(p.sampleAt)
	for _, a := range p.asks {
		at(a.again)
	}
	if p.state == punchRun {
		at(p.lastPeer.Add(consentLife))
		at(p.began.Add(attemptLife))
		at(p.birthday.next(p))
		if len(p.plan) > 0 {
			send := p.tat.Add(-punchBurst * p.interval())
			if p.plan[0].at.After(send) {
				send = p.plan[0].at
			}
			at(send)
		}
	}
	if p.state == punchFailed {
		at(p.nextAt)
	}
	return next
}

// HandleTimeout does what has become due.
func (p *Puncher) HandleTimeout(now time.Time) {
	switch p.state {
	case punchFailed:
		if due(now, p.nextAt) {
			p.Start(now)
		}
		return
	case punchLearn:
		p.askAgain(now)
		if due(now, p.deadline) {
			p.learnt(now)
		}
	case punchHello:
		if due(now, p.tellAt) {
			if p.tells >= helloTries {
				p.finish(now, "the peer takes no part", false)
				if p.deaf++; p.deaf <= deafTries {
					p.nextAt = now.Add(deafRetry) // it may be busy with others
				}
				return
			}
			p.tell(now)
		}
		return
	case punchRun:
		p.runTimeouts(now)
	}
}

func (p *Puncher) runTimeouts(now time.Time) {
	if now.Sub(p.lastPeer) >= consentLife {
		p.finish(now, "the peer has fallen silent", false)
		return
	}
	if now.Sub(p.began) >= attemptLife {
		p.finish(now, "it has taken too long "+p.classes(), true)
		return
	}
	if p.askAgain(now) > 0 {
		p.HandleDistress(now, "new mappings stay without an answer: the NAT is exhausted")
	}
	if p.state != punchRun {
		return
	}
	if due(now, p.tellAt) {
		p.tell(now)
	}
	if due(now, p.sampleAt) {
		p.sampleAt = time.Time{}
		p.lookAtPorts(now)
	}
	if due(now, p.deadline) {
		p.deadline = time.Time{}
		p.roundOver(now)
	}
	p.pump(now)
}

func (p *Puncher) interval() time.Duration { return time.Second / time.Duration(max(p.rate, 1)) }

// take takes one packet from the rate and the budget of the attempt.
func (p *Puncher) take(now time.Time, burst int) bool {
	if p.tat.Before(now) {
		p.tat = now
	}
	if p.tat.Add(-time.Duration(burst) * p.interval()).After(now) {
		return false
	}
	p.tat = p.tat.Add(p.interval())
	p.count(now)
	return true
}

// count takes a probe from what may be sent in an attempt, and in all.
func (p *Puncher) count(now time.Time) {
	p.probes++
	if p.spent.Before(now) {
		p.spent = now
	}
	p.spent = p.spent.Add(punchEach)
}

// broke reports whether no more probes may be sent in this attempt.
func (p *Puncher) broke(now time.Time) bool {
	p.poor = p.poor || p.probes >= p.c.Probes || p.spent.Sub(now) >= punchProbes*punchEach
	return p.poor
}

// pump sends the probes that are due.
func (p *Puncher) pump(now time.Time) {
	for p.state == punchRun {
		search := p.birthday.next(p)
		switch {
		case p.broke(now):
			p.plan, p.birthday.running = nil, false
			if p.deadline = p.lastChance(); !p.deadline.After(now) {
				p.finish(now, p.run.String()+" found nothing within its budget of probes "+p.classes(), true)
			}
			return
		case len(p.plan) > 0 && !p.plan[0].at.After(now):
			if !p.take(now, punchBurst) {
				return
			}
			q := p.plan[0]
			p.plan = p.plan[1:]
			if q.slot == 0 || p.opened[q.slot] {
				p.push(PunchAction{Op: PunchProbe, Slot: q.slot, Addr: q.to})
			}
		case due(now, search):
			if !p.take(now, searchSlack) {
				return
			}
			p.birthday.step(now, p)
		default:
			return
		}
	}
}

// lastChance is how long to wait when nothing more is sent: for what is under way, or for a path to be proven.
func (p *Puncher) lastChance() time.Time {
	last := p.tat.Add(max(2*p.rtt, 200*time.Millisecond))
	if w := p.winning(); w.After(last) {
		return w
	}
	return last
}

// send plans a probe.
func (p *Puncher) send(at time.Time, slot int, to netip.AddrPort) {
	if len(p.plan) >= maxPlanned || to.Port() < 1 || !p.named(to) || !p.c.Usable(to) {
		return
	}
	i := len(p.plan)
	for i > 0 && p.plan[i-1].at.After(at) {
		i--
	}
	p.plan = append(p.plan, planned{})
	copy(p.plan[i+1:], p.plan[i:])
	p.plan[i] = planned{at, slot, to}
}
