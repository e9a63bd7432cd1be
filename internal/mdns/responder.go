// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mdns

import (
	"net/netip"
	"time"

	"golang.org/x/time/rate"
)

// Limits on answers. A query that goes unanswered is repeated; who floods us gets no more than this.
const (
	perSource   = 4 // answers per second and source
	burstSource = 8
	perSecond   = 20 // answers per second in all
	burst       = 40
	maxParsed   = 500 // messages looked at per second
	maxSources  = 256 // remembered at a time
	maxNonces   = 256 // queries that have been answered
)

// A Responder says which queries an endpoint answers. It is not safe for concurrent use. The zero value is not usable.
type Responder struct {
	id      ID
	parsed  *rate.Limiter
	answers *rate.Limiter
	sources map[netip.Addr]*rate.Limiter
	begun   time.Time // when the table of sources was last empty

	nonces [maxNonces]Nonce // a ring of those answered
	next   int
	seen   map[Nonce]struct{}
	drops  uint64
}

// NewResponder returns a Responder for the endpoint with the given ID.
func NewResponder(id ID) *Responder {
	return &Responder{
		id:      id,
		parsed:  rate.NewLimiter(maxParsed, maxParsed),
		answers: rate.NewLimiter(perSecond, burst),
		sources: make(map[netip.Addr]*rate.Limiter),
		seen:    make(map[Nonce]struct{}),
	}
}

// Admit says whether a message may be looked at now at all. What is above the limit is dropped and counted.
func (r *Responder) Admit(now time.Time) bool {
	if !r.parsed.AllowN(now, 1) {
		r.drops++
		return false
	}
	return true
}

// Wants says whether to answer a query that has come from an address. It is no to all that are for somebody else, and to
// those that have been answered: what anybody has heard cannot be used to ask again.
func (r *Responder) Wants(now time.Time, q *Query, from netip.Addr) bool {
	if !q.For(r.id, now) {
		return false
	}
	if _, again := r.seen[q.Nonce]; again || !r.source(now, from.WithZone("")).AllowN(now, 1) || !r.answers.AllowN(now, 1) {
		r.drops++
		return false
	}
	delete(r.seen, r.nonces[r.next])
	r.nonces[r.next] = q.Nonce
	r.seen[q.Nonce] = struct{}{}
	r.next = (r.next + 1) % maxNonces
	return true
}

// Dropped returns how many messages were not looked at, or queries for us not answered, because of a limit.
func (r *Responder) Dropped() uint64 { return r.drops }

// source returns the limiter of a source. Only those get one that know our ID.
func (r *Responder) source(now time.Time, a netip.Addr) *rate.Limiter {
	l := r.sources[a]
	if l == nil {
		if len(r.sources) >= maxSources || now.Sub(r.begun) > time.Minute {
			clear(r.sources) // the limit on all answers stands meanwhile
			r.begun = now
		}
		l = rate.NewLimiter(perSource, burstSource)
		r.sources[a] = l
	}
	return l
}
