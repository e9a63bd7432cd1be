// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mobility

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/pace"
)

// Stats counts what a [Machine] has done and refused.
type Stats struct {
	Challenges   uint64 // challenges asked for
	Answered     uint64 // responses that answered one
	Unmatched    uint64 // responses that answered none: late, doubled or made up
	Switches     uint64
	Outages      uint64 // times that no path answered
	Ignored      uint64 // packets, candidates and challenges on paths the policy forbids
	Refused      uint64 // paths not taken up because the table is full of better ones
	Unaffordable uint64 // challenges and responses not sent for lack of budget
	Dropped      uint64 // actions lost because nobody polled, and responses beyond their limit
}

// A Machine chooses the path of one session. It belongs to one goroutine.
type Machine struct {
	c     Config
	cur   *path   // the path data goes by; not in paths if its binding is gone
	paths []*path // at most MaxPaths

	actions []Action // from head on
	head    int
	replies int // responses among them

	challenges pace.Pace // see allowProbe

	// Following the peer.
	nextFollow    time.Time // no validation of where the peer may have moved before
	nextTry       time.Time // nor of what the peer tries
	lastFollow    time.Time
	pendingFollow *path     // waits for nextFollow
	wrongly       int       // times that the session followed lately and came back
	wronglyAt     time.Time // the last of them
	newestOnCur   time.Time // when the newest packet last came by the current path
	elsewhere     int       // newest packets that came by other paths since anything came by the current one
	peerMoved     bool      // one of them by a valid path of no worse kind

	// Liveness of the current path.
	switchedAt    time.Time
	lastPing      time.Time
	keepaliveWait time.Duration
	quiet         quiet
	degradedAt    time.Time // when Degraded was last said
	lastVerify    time.Time
	verdictAt     time.Time // when to look whether the verification is over
	clearedAt     time.Time // when the current path last answered while it was in doubt
	lossesAt      time.Time // when HandleLosses was last called
	strict        bool      // it ends only by a response
	ground        bool      // it began because the ground had moved
	movedAt       time.Time // when it last did: what answered before says nothing
	doubts        int       // verifications because the peer uses another path
	outage        bool      // nothing answers
	outageFrom    time.Time

	// How much is going on.
	flow     int64     // see traffic
	flowAt   time.Time // when flow was last brought up to date
	busyAt   time.Time // when data last flowed
	activeAt time.Time // when the application last had something to send
	polled   bool      // the next packet sent is one that the machine has asked for

	// What people ask for: a ring from oldest on, as soon as it is full.
	history []entry
	oldest  int
	trials  []Trial

	stats Stats
}

// New returns a machine for a session whose handshake was completed by the path first, which therefore is
// validated unless c.Unproven says otherwise. It panics if c.Rand is nil.
func New(now time.Time, first Candidate, c *Config) *Machine {
	if c == nil || c.Rand == nil {
		panic("mobility: Config.Rand is required")
	}
	p := &path{
		Candidate: first, vouched: true, proven: true, valid: true,
		created: now, lastReceived: now, lastAnswer: now,
	}
	p.Kind = max(p.Kind, p.Key.Kind())
	m := &Machine{c: *c, cur: p, paths: []*path{p}, switchedAt: now, busyAt: now, flowAt: now}
	if c.Unproven > 0 {
		p.proven, p.valid, p.recv, p.lastAnswer = false, false, c.Unproven, time.Time{}
		m.start(now, p, tryCandidate)
	}
	m.keepaliveWait = m.nextKeepalive()
	p.standbyAt = now.Add(m.standbyWait(now, p))
	return m
}

// Current returns the path data goes by. There always is one, but see [Dead].
func (m *Machine) Current() Path { return m.cur.snapshot(true) }

// Outage reports whether no path answers: [Dead] has been polled and no [Switch] since, nor has the current path
// answered again.
func (m *Machine) Outage() bool { return m.outage }

// Paths returns all known paths, the current one first.
func (m *Machine) Paths() []Path {
	ps := make([]Path, 1, len(m.paths)+1)
	ps[0] = m.cur.snapshot(true)
	for _, p := range m.paths {
		if p != m.cur {
			ps = append(ps, p.snapshot(false))
		}
	}
	return ps
}

// Stats returns the counts so far.
func (m *Machine) Stats() Stats { return m.stats }

// Budget returns how many bytes may be sent by k now. It is math.MaxInt once k is validated. Before, it is three
// times what came from there (RFC 9000 §8.1), plus what the challenges of a candidate take, less what was sent. It
// is zero for a path the machine does not know.
func (m *Machine) Budget(k Key) int {
	p := m.lookup(k)
	if p == nil {
		return 0
	}
	return m.budgetOf(p)
}

func (m *Machine) budgetOf(p *path) int {
	if p.valid || p == m.cur && p.proven {
		return math.MaxInt
	}
	return max(0, p.grant+3*p.recv-p.sent-p.queued)
}

// NextTimeout returns when HandleTimeout must be called, or the zero time if there is nothing to wait for. It may
// have passed already, except right after HandleTimeout.
func (m *Machine) NextTimeout() time.Time {
	var next time.Time
	at := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	for _, p := range m.paths {
		if p.probe.why != idle {
			at(p.probe.next)
		}
		at(m.expiresAt(p))
	}
	if m.pendingFollow != nil {
		at(m.nextFollow)
	}
	at(m.keepaliveAt())
	at(m.suspectAt())
	if m.cur.probe.why == tryVerify {
		at(m.verdictAt)
	}
	for _, p := range m.standbys() {
		if p != nil && p.probe.why == idle {
			at(p.standbyAt)
		}
	}
	if m.measures() {
		at(m.cur.standbyAt)
	}
	return next
}

// HandleTimeout does what has become due. Calling it early is harmless.
func (m *Machine) HandleTimeout(now time.Time) {
	if m.pendingFollow != nil && !now.Before(m.nextFollow) {
		p := m.pendingFollow
		m.pendingFollow = nil
		if !p.valid && p != m.cur && !m.newestOnCur.After(p.followed) {
			m.follow(now, p)
		}
	}
	if due(now, m.suspectAt()) {
		if m.elsewhere > 0 {
			m.doubts = min(m.doubts+1, maxDoubts) // the peer's answers take another path
		}
		m.verify(now, false, "what was sent by it is not answered")
	}
	// A probe's end may remove none of the paths, but it may start other probes, change the current path, and with it
	// which paths are kept warm, and let a path expire that was kept for its sake.
	for again := true; again; {
		m.pumpAll(now)
		if m.cur.probe.why == tryVerify && due(now, m.verdictAt) {
			m.verdict(now)
		}
		m.expire(now)
		again = false
		for _, p := range m.standbys() {
			if p != nil && p.probe.why == idle && due(now, p.standbyAt) {
				m.start(now, p, tryStandby)
				again = true
			}
		}
	}
	if m.measures() && due(now, m.cur.standbyAt) {
		m.cur.standbyAt = now.Add(m.standbyWait(now, m.cur))
		if !m.idle(now) {
			m.start(now, m.cur, tryMeasure)
		}
	}
	if due(now, m.keepaliveAt()) {
		m.keepalive(now)
	}
}

func due(now, t time.Time) bool { return !t.IsZero() && !now.Before(t) }

// jitter returns a duration of at least d and less than d+spread.
func (m *Machine) jitter(d, spread time.Duration) time.Duration {
	if spread <= 0 {
		return d
	}
	var b [8]byte
	m.c.Rand(b[:])
	return d + time.Duration(binary.BigEndian.Uint64(b[:])%uint64(spread))
}
