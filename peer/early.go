// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"slices"
	"time"

	"github.com/seed-98f0d4c2/runnel/signaling"
)

const (
	maxEarlySignals = 64 // in all
	maxEarlyFrom    = 4  // of one peer
	earlyLife       = defaultHandshakeTimeout
)

// earlySignals keeps candidates of peers whose offer is still being considered, such as by Config.Authorize: they
// belong to a session that does not exist yet. It is small, and forgets.
type earlySignals struct {
	list []earlySignal // oldest first
}

type earlySignal struct {
	at   time.Time
	from ID
	m    *signaling.Message
}

// add keeps m, which from has signed.
func (es *earlySignals) add(now time.Time, from ID, m *signaling.Message) {
	es.expire(now)
	n := 0
	for _, e := range es.list {
		if e.from == from {
			n++
		}
	}
	if n >= maxEarlyFrom {
		return
	}
	if len(es.list) >= maxEarlySignals {
		es.list = slices.Delete(es.list, 0, 1)
	}
	es.list = append(es.list, earlySignal{now, from, m})
}

// take returns what has come from a peer for an attempt, and forgets it.
func (es *earlySignals) take(now time.Time, id attemptID, from ID) (list []*signaling.Message) {
	es.expire(now)
	es.list = slices.DeleteFunc(es.list, func(e earlySignal) bool {
		mine := e.from == from && attemptID(e.m.Attempt) == id
		if mine {
			list = append(list, e.m)
		}
		return mine
	})
	return list
}

func (es *earlySignals) expire(now time.Time) {
	es.list = slices.DeleteFunc(es.list, func(e earlySignal) bool { return now.Sub(e.at) > earlyLife })
}
