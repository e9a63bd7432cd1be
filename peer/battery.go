// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import "time"

// SetBattery turns battery mode on or off for all sessions and for what the endpoint does by itself, as an app does that
// goes to the background of a phone and comes back. It begins as Config.Policy.Battery says.
//
// In battery mode an idle session by a direct path, and the endpoint towards STUN servers and relays if its NAT has one
// mapping for all, is silent for longer and longer as long as the NATs bear it, up to 5 min; usually it sends a packet in 17 s.
// Both ends have to be in battery mode for that, for either may ask the other for a sign of life. It has a price: that the peer is gone is noticed as
// much later, and so is a NAT that forgot: once an hour at most, when a longer silence is tried, what the peer sends may be
// lost until then, and Dial of this endpoint may get a relayed path first. In an outage the return of the network is noticed
// up to 2 s later. What this side sends is as quick as ever. When the mode ends, everything is asked after at once.
func (e *Endpoint) SetBattery(on bool) {
	if e.battery.Swap(on) == on {
		return
	}
	e.stun.setBattery()
	e.eachSession(func(s *Session) {
		s.post(func(now time.Time) {
			if s.mob != nil && s.phase <= phaseClosing {
				s.wokenAt = now
				s.mob.SetBattery(now, on)
			}
		})
	})
}

const (
	restMost  = 5 * time.Minute
	restRetry = time.Hour // after which a silence that was too long is tried again
)

// A restLearner learns how long a NAT remembers a mapping that is not used. STUN servers tell.
type restLearner struct {
	wait    time.Duration // how long to be silent now; zero: as usual
	ceiling time.Duration // the longest to try; zero: restMost
	lowered time.Time     // when the ceiling was
	testing time.Duration // the silence that the question under way has ended; zero: none
	asked   time.Time     // when servers were last asked
}

// heard takes note of an answer: is the mapping what it was? Of several servers any one may tell of a change; the others may
// have been kept in mind by other traffic.
func (l *restLearner) heard(now time.Time, same bool) {
	d := l.testing
	switch {
	case d == 0:
	case !same:
		l.ceiling, l.lowered, l.wait, l.testing = max(d*2/3, stunRefresh), now, 0, 0
	default:
		most := restMost
		if now.Sub(l.lowered) < restRetry && l.ceiling > 0 {
			most = l.ceiling
		}
		l.wait = min(d+d/2, most)
	}
}

// testQuiet notes that the servers are about to be asked, and whether that is because it is time.
func (r *reflexive) testQuiet(now time.Time, timely bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := &r.learnt
	l.testing = 0
	if timely && !l.asked.IsZero() && r.e.battery.Load() {
		l.testing = now.Sub(l.asked)
	}
	l.asked = now
}

// quiet is how long the endpoint may send nothing by a mapping, where it is d usually.
func (r *reflexive) quiet(d time.Duration) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.e.battery.Load() || !r.single {
		return d
	}
	return max(d, r.learnt.wait)
}

// setBattery begins to learn anew, and looks how things are.
func (r *reflexive) setBattery() {
	r.mu.Lock()
	r.learnt = restLearner{}
	r.mu.Unlock()
	r.askAll()
}
