// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mobility

import (
	"fmt"
	"time"
)

// An Op says what an [Action] is.
type Op uint8

const (
	Challenge Op = iota + 1 // send PATH_CHALLENGE with Data by Path
	Response                // send PATH_RESPONSE with Data by Path
	Ping                    // send something that asks for an acknowledgement by Path
	Switch                  // the session has moved from From to Path
	Dead                    // Path was current and nothing answers any more; Current stays as it is
	Alive                   // Path is current and answers again: the outage is over, and there was no Switch
	Degraded                // Path is current, and loses much or takes long; alternatives are being measured
)

// String returns the op in lower case.
func (o Op) String() string {
	switch o {
	case Challenge:
		return "challenge"
	case Response:
		return "response"
	case Ping:
		return "ping"
	case Switch:
		return "switch"
	case Dead:
		return "dead"
	case Alive:
		return "alive"
	case Degraded:
		return "degraded"
	}
	return fmt.Sprintf("Op(%d)", uint8(o))
}

// An Action is something the driver is to do. Challenges, responses and pings go by exactly the path named, in a
// packet no larger than [Machine.Budget] of it allows (one that carries nothing else always fits), and are not
// retransmitted when lost: the machine asks again.
type Action struct {
	Op   Op
	Path Path
	Data [8]byte // of Challenge and Response
	From Path    // of Switch: the path left
	Why  string  // of all but Response and Ping: a sentence for logs and people
}

// push appends an action. If the driver does not poll, the oldest actions are lost; each can be repeated or is
// found out by other means (Current, Outage).
func (m *Machine) push(a Action) {
	if len(m.actions)-m.head >= maxActions {
		m.pop()
		m.stats.Dropped++
	}
	m.actions = append(m.actions, a)
	m.account(a, 1)
}

// account keeps count of actions that wait: n is 1 for one more, -1 for one less.
func (m *Machine) account(a Action, n int) {
	if a.Op == Response {
		m.replies += n
	}
	if a.Op == Response || a.Op == Challenge {
		if p := m.lookup(a.Path.Key); p != nil {
			p.queued = max(0, p.queued+n*challengeSize)
		}
	}
}

func (m *Machine) pop() Action {
	a := m.actions[m.head]
	m.actions[m.head] = Action{}
	m.head++
	if m.head == len(m.actions) {
		m.actions, m.head = m.actions[:0], 0
	} else if m.head >= maxActions {
		n := copy(m.actions, m.actions[m.head:])
		clear(m.actions[n:])
		m.actions, m.head = m.actions[:n], 0
	}
	m.account(a, -1)
	return a
}

// Poll returns the next action. The driver calls it after every other call until it reports false.
func (m *Machine) Poll(now time.Time) (Action, bool) {
	if m.head == len(m.actions) {
		return Action{}, false
	}
	a := m.pop()
	m.polled = a.Op == Challenge || a.Op == Response || a.Op == Ping
	if a.Op == Challenge {
		// The round trip begins when the challenge is handed over.
		if p := m.lookup(a.Path.Key); p != nil {
			for i := range p.challenges {
				if c := &p.challenges[i]; c.data == a.Data && !c.at.IsZero() {
					c.at = now
				}
			}
		}
	}
	return a, true
}
