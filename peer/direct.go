// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
	"github.com/seed-98f0d4c2/runnel/mobility"
	"github.com/seed-98f0d4c2/runnel/signaling"
)

// A peer whose address is known is dialled with no rendezvous in four packets (docs/PROTOCOL.md §6):
//
//	dialler → listener  Init    version, random, proof of knowing whom it dials
//	listener → dialler  Retry   version, random, cookie
//	dialler → listener  Open    version, random, cookie, sealed offer
//	listener → dialler  Answer  version, random, sealed answer
//
// The cookie proves that the dialler is at its address; the listener keeps nothing until it has come back.
const (
	directVersion = 1
	randomLen     = 16
	tagLen        = 16
	cookieLen     = 8 + 16
	prefixLen     = 2 + randomLen
	initLen       = 128 // more than a Retry, so that nothing is amplified
	cookieLife    = 30 * time.Second
	directResend  = 250 * time.Millisecond
	maxDirectWait = 2 * time.Second
	maxAddrs      = 16
	opensPerSec   = 500 // sealed offers opened a second, at most: each costs a key agreement and a signature check
)

// A directDial is the dialler's half, owned by the session's loop. Each address is dialled on its own, so that one
// that leads nowhere, or to somebody else, does not keep the others from being used.
type directDial struct {
	at     *setup // whose offer it carries
	addrs  []netip.AddrPort
	random [randomLen]byte
	wait   time.Duration
	opens  map[netip.AddrPort][]byte // the Open packet for each address that has sent a cookie
}

func newDirectDial(t Target) *directDial {
	d := &directDial{wait: directResend, opens: make(map[netip.AddrPort][]byte)}
	for _, a := range t.Addrs[:min(len(t.Addrs), maxAddrs)] {
		d.addrs = append(d.addrs, netip.AddrPortFrom(a.Addr().Unmap(), a.Port()))
	}
	_, _ = rand.Read(d.random[:])
	return d
}

func (d *directDial) start(s *Session, at *setup, now time.Time) {
	d.at = at
	s.e.direct.expect(d.random, s)
	d.send(s, now)
}

// send sends what is due: Open to the addresses that have sent a cookie, Init to the others.
func (d *directDial) send(s *Session, now time.Time) {
	first := newDirect(wire.FirstInit, d.random)
	tag := initTag(s.id, d.random)
	first = append(first, tag[:]...)
	first = append(first, make([]byte, initLen-len(first))...)
	for _, a := range d.addrs {
		if open := d.opens[a]; open != nil {
			_ = s.e.writeDirect(open, a)
		} else {
			_ = s.e.writeDirect(first, a)
		}
	}
	d.at.resendAt = now.Add(d.wait)
	d.wait = min(2*d.wait, maxDirectWait)
}

// handleRetry takes the cookie of one of the addresses dialled.
func (d *directDial) handleRetry(s *Session, cookie []byte, from netip.AddrPort) {
	if d.opens[from] != nil || !slices.Contains(d.addrs, from) {
		return
	}
	d.opens[from] = append(append(newDirect(wire.FirstOpen, d.random), cookie...), d.at.payload...)
	_ = s.e.writeDirect(d.opens[from], from)
}

// A directAnswer is how the listener answers an Open packet.
type directAnswer struct {
	e      *Endpoint
	random [randomLen]byte
	to     netip.AddrPort
}

func (a *directAnswer) send(payload []byte) {
	_ = a.e.writeDirect(append(newDirect(wire.FirstAnswer, a.random), payload...), a.to)
}

// A gate lets peers in that dial an address of this endpoint, and answers to those that this endpoint dials.
type gate struct {
	e      *Endpoint
	secret [32]byte
	opens  *rate.Limiter

	mu    sync.Mutex
	dials map[[randomLen]byte]*Session
}

func newGate(e *Endpoint) *gate {
	g := &gate{e: e, opens: rate.NewLimiter(opensPerSec, opensPerSec/5), dials: make(map[[randomLen]byte]*Session)}
	_, _ = rand.Read(g.secret[:])
	return g
}

// expect routes the answers to a dial to s; done ends that.
func (g *gate) expect(random [randomLen]byte, s *Session) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.dials[random] = s
}

func (g *gate) done(random [randomLen]byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.dials, random)
}

func (g *gate) dial(random [randomLen]byte) *Session {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.dials[random]
}

// handle takes one of the four packets. Anything that is not exactly as it should be gets no answer.
func (g *gate) handle(b []byte, from netip.AddrPort) {
	if len(b) < prefixLen || b[1] != directVersion {
		g.e.drop(dropMalformed)
		return
	}
	random := [randomLen]byte(b[2:prefixLen])
	rest := b[prefixLen:]
	switch b[0] {
	case wire.FirstInit:
		g.handleInit(random, rest, from)
	case wire.FirstRetry:
		s := g.dial(random)
		if s == nil || len(rest) != cookieLen {
			g.e.drop(dropMalformed)
			return
		}
		cookie := append([]byte(nil), rest...)
		s.tell(func(time.Time) {
			if d := s.dialOf(random); d != nil && !d.at.haveSID {
				d.handleRetry(s, cookie, from)
			}
		})
	case wire.FirstOpen:
		g.handleOpen(random, rest, from)
	case wire.FirstAnswer:
		g.handleAnswer(random, rest, from)
	}
}

// handleInit hands out a cookie to those who know whom they dial: a scanner gets nothing.
func (g *gate) handleInit(random [randomLen]byte, rest []byte, from netip.AddrPort) {
	tag := initTag(g.e.id, random)
	if !g.e.dialable(strangers, from) || len(rest) != initLen-prefixLen || !hmac.Equal(tag[:], rest[:tagLen]) {
		g.e.drop(dropMalformed)
		return
	}
	cookie := g.cookie(time.Now(), random, from)
	_ = g.e.writeDirect(append(newDirect(wire.FirstRetry, random), cookie[:]...), from)
}

func (g *gate) handleOpen(random [randomLen]byte, rest []byte, from netip.AddrPort) {
	if len(rest) < cookieLen || !g.cookieValid(time.Now(), random, from, rest[:cookieLen]) || !g.opens.Allow() {
		g.e.drop(dropMalformed)
		return
	}
	id, m, err := signaling.Open(g.e.cfg.Key, rest[cookieLen:])
	if err != nil || m.Kind != signaling.KindOffer || len(m.KEM) > 0 {
		g.e.drop(dropBadSignal)
		return
	}
	if !g.e.dialable(id, from) {
		g.e.drop(dropMalformed)
		return
	}
	g.e.handleOffer(id, m, &directAnswer{e: g.e, random: random, to: from})
}

func (g *gate) handleAnswer(random [randomLen]byte, rest []byte, from netip.AddrPort) {
	s := g.dial(random)
	if s == nil || !g.opens.Allow() {
		g.e.drop(dropMalformed)
		return
	}
	id, m, err := signaling.Open(g.e.cfg.Key, rest)
	if err != nil || id != s.id {
		g.e.drop(dropBadSignal)
		return
	}
	s.tell(func(now time.Time) {
		d := s.dialOf(random)
		if d == nil || d.opens[from] == nil {
			return // not from where we have asked
		}
		if d.at == s.nearby {
			if s.phase != phaseSetup {
				return
			}
			s.takeNearby()
		}
		switch m.Kind {
		case signaling.KindAnswer:
			s.handleAnswer(now, m)
			s.addTarget(now, mobility.Candidate{Key: mobility.Key{Remote: from}, Kind: mobility.Direct}, true)
		case signaling.KindBye:
			s.handleBye(now, m)
		}
	})
}

// cookie is a MAC over when it was made and for whom; it is all the state there is.
func (g *gate) cookie(now time.Time, random [randomLen]byte, to netip.AddrPort) [cookieLen]byte {
	var c [cookieLen]byte
	binary.BigEndian.PutUint64(c[:8], uint64(now.Unix()))
	mac := hmac.New(sha256.New, g.secret[:])
	mac.Write(c[:8])
	mac.Write(random[:])
	addr, _ := to.MarshalBinary()
	mac.Write(addr)
	copy(c[8:], mac.Sum(nil))
	return c
}

func (g *gate) cookieValid(now time.Time, random [randomLen]byte, from netip.AddrPort, c []byte) bool {
	made := time.Unix(int64(binary.BigEndian.Uint64(c[:8])), 0)
	if age := now.Sub(made); age < -time.Second || age > cookieLife {
		return false
	}
	want := g.cookie(made, random, from)
	return hmac.Equal(want[:], c)
}

// initTag shows that the sender of an Init packet knows the ID of the peer it dials.
func initTag(id ID, random [randomLen]byte) [tagLen]byte {
	h := sha256.New()
	h.Write([]byte("runnel init v1\x00"))
	h.Write(id[:])
	h.Write(random[:])
	return [tagLen]byte(h.Sum(nil))
}

// newDirect starts one of the four packets.
func newDirect(first byte, random [randomLen]byte) []byte {
	return append([]byte{first, directVersion}, random[:]...)
}
