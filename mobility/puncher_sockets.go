// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mobility

import (
	"slices"
	"time"
)

func (p *Puncher) open(slot int) {
	p.opened[slot] = true
	p.push(PunchAction{Op: PunchOpen, Slot: slot})
}

func (p *Puncher) close(slot int) {
	delete(p.opened, slot)
	p.push(PunchAction{Op: PunchClose, Slot: slot})
}

// hit reports whether the peer was heard by slot.
func (p *Puncher) hit(slot int) bool {
	return slices.ContainsFunc(p.hits, func(k Key) bool { return int(k.Via) == slot })
}

// winning returns until when the path machine is given time to prove a path on which the peer was heard.
func (p *Puncher) winning() time.Time {
	if p.hitAt.IsZero() {
		return time.Time{}
	}
	return p.hitAt.Add(max(4*p.rtt, time.Second))
}

// closeAll closes the extra sockets but those on which the peer was heard.
func (p *Puncher) closeAll() {
	var slots []int
	for slot := range p.opened {
		if !p.hit(slot) {
			slots = append(slots, slot)
		}
	}
	slices.Sort(slots)
	for _, slot := range slots {
		p.close(slot)
	}
}

// ask has a STUN server say how the socket of slot looks from outside. The own socket is always shown to the same, and
// others to another if there is one, which may be asked as often.
func (p *Puncher) ask(now time.Time, slot int, canary bool) {
	if len(p.servers) == 0 {
		return
	}
	a := ask{slot: slot, server: p.servers[0], canary: canary, tries: 1, again: now.Add(p.patience() / 2)}
	if canary && slot != 0 {
		a.server = p.servers[1%len(p.servers)]
	}
	p.asks = append(p.asks, a)
	p.push(PunchAction{Op: PunchAsk, Slot: slot, Addr: a.server})
}

// askAgain repeats what has not been answered. It returns how many canaries are silent.
func (p *Puncher) askAgain(now time.Time) (silent int) {
	kept := p.asks[:0]
	for _, a := range p.asks {
		switch {
		case now.Before(a.again):
		case a.tries >= askTries:
			if a.canary {
				silent++
			}
			continue
		default:
			a.tries++
			a.again = now.Add(p.patience() / 2)
			p.push(PunchAction{Op: PunchAsk, Slot: a.slot, Addr: a.server})
		}
		kept = append(kept, a)
	}
	p.asks = kept
	return silent
}
