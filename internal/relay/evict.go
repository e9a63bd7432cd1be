// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"bytes"
	"log/slog"
	"net/netip"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/pionx/stunx"
)

// evictSilence is how long the client of an allocation must have sent nothing for it to make room. Clients that are still
// there send something every 20 s, because of the NATs before them, or use a stream.
const evictSilence = 40 * time.Second

// evict ends the allocation of a user who has as many as allowed, whose client has been silent for longest, if that is for
// evictSilence: it has moved and cannot give back what it had at its old address, which would count until it expires. It
// reports whether there was one. A client that was only slow is told 437 at its next request and allocates anew.
func (s *Server) evict(user string) bool {
	var oldest *allocation
	s.mu.Lock()
	for g := range s.gates {
		if g.stream() { // it ends with the stream
			continue
		}
		g.mu.RLock()
		for _, a := range g.allocs {
			if a.who == user && (oldest == nil || a.heard.Load() < oldest.heard.Load()) {
				oldest = a
			}
		}
		g.mu.RUnlock()
	}
	s.mu.Unlock()
	if oldest == nil || time.Since(time.Unix(0, oldest.heard.Load())) < evictSilence {
		return false
	}
	g := oldest.g
	g.mu.Lock()
	if g.allocs[oldest.client] != oldest {
		g.mu.Unlock()
		return false
	}
	g.evicted[oldest.client] = oldest
	g.mu.Unlock()
	oldest.end()
	s.log.Debug("allocation made room", slog.Any("client", oldest.client))
	return true
}

// givesBackEvicted reports whether a request is by the client of an evicted allocation, to be rid of it: the core, which still
// knows it, would let the client have no other until it expires.
func (g *gate) givesBackEvicted(m stunx.Method, b []byte, from netip.AddrPort, who identity) bool {
	v, ok := stunx.Get(b, stunx.Lifetime)
	if m != stunx.Refresh || !ok || !bytes.Equal(v, make([]byte, 4)) {
		return false
	}
	g.mu.RLock()
	defer g.mu.RUnlock()
	a := g.evicted[from]
	return a != nil && a.who == who.id
}
