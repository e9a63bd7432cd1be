// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/pionx/turnx"
)

const (
	allocateTimeout = 4 * time.Second
	nextWayTimeout  = 2 * time.Second // if there is another way to the same relay
	relayRetryMin   = time.Second
	relayRetryMax   = time.Minute

	relaySteady   = 5 * time.Second          // an allocation that was held for so long, and is lost, is replaced at once
	relayStale    = 500 * time.Millisecond   // how long an attempt may have taken for news of the network to end it
	relayQuiet    = 17500 * time.Millisecond // without a packet to the relay: some NATs forget after 20 s
	relayCheckMin = 100 * time.Millisecond   // after which the relay is asked again whether it knows us; doubling
	relayChecks   = 5
)

// A relayHolder keeps one allocation at one relay.
type relayHolder struct {
	ctx    context.Context //nolint:containedctx // ends when the relay is no longer advised
	cancel context.CancelFunc
	news   chan struct{} // capacity 1: the network has changed

	// Guarded by relays.mu.
	urls    []advised          // in order of preference
	held    *turnx.Allocation  // nil: none
	via     int32              // its binding
	shared  bool               // it is reached over the endpoint's sockets
	moved   bool               // the network took the last allocation away
	attempt context.CancelFunc // ends the attempt under way; nil: there is none
	since   time.Time          // when that began
	facts   relayNews
}

// hold keeps an allocation until h.ctx ends: by UDP if that works, else by TCP, else by TLS.
func (r *relays) hold(h *relayHolder) {
	defer h.cancel()
	wait := relayRetryMin
	for h.ctx.Err() == nil {
		began := time.Now()
		held := r.tryWays(h)
		if h.ctx.Err() != nil {
			return
		}
		if held {
			wait = relayRetryMin
			if r.moved(h) || time.Since(began) >= relaySteady {
				continue // it has served; the network has changed, or the relay has restarted
			}
		}
		timer := time.NewTimer(rand.N(wait) + wait/2)
		wait = min(wait*2, relayRetryMax)
		select {
		case <-timer.C:
		case <-h.news:
			wait = relayRetryMin
		case <-h.ctx.Done():
		}
		timer.Stop()
	}
}

// tryWays tries one way to the relay after the other, and serves the first allocation until it is lost. It reports
// whether there was one.
func (r *relays) tryWays(h *relayHolder) (held bool) {
	r.mu.Lock()
	urls := slices.Clone(h.urls)
	r.mu.Unlock()
	for i, u := range urls {
		timeout := allocateTimeout
		if i < len(urls)-1 {
			timeout = nextWayTimeout
		}
		held, err := r.allocate(h, u, timeout)
		if held || h.ctx.Err() != nil {
			return held
		}
		r.noteFailed(h, u.URL, err)
		r.e.log.Info("relay not available", slog.String("url", u.URL), slog.Any("err", err))
		if len(h.news) > 0 {
			break // all ways may work again
		}
	}
	return false
}

// allocate makes an allocation and serves it until it is lost. It reports whether there was one.
func (r *relays) allocate(h *relayHolder, relay advised, timeout time.Duration) (held bool, err error) {
	actx, cancel := context.WithTimeout(h.ctx, timeout)
	defer cancel()
	r.attempting(h, cancel)
	defer r.attempting(h, nil)
	conn, server, err := r.connect(actx, relay.addr)
	if err != nil {
		return false, err
	}
	defer r.disconnect(conn, server)

	r.mu.Lock()
	r.lastVia++
	via := r.lastVia
	r.mu.Unlock()
	a, err := turnx.Allocate(actx, &turnx.ClientConfig{
		Conn: conn, Server: server, Username: relay.Username, Password: relay.Credential, Log: r.e.log,
		OnPacket: func(b []byte, from netip.AddrPort) { r.e.handleRelayed(via, b, from) },
	})
	if err != nil {
		r.e.names.forget(server)
		return false, err
	}
	r.attempting(h, nil)
	r.mu.Lock()
	r.byVia[via] = a
	h.held, h.via, h.shared = a, via, relay.addr.Transport == "udp"
	h.noteHeld(relay.URL)
	wanted := make([]netip.Addr, 0, len(r.wanted))
	for ip := range r.wanted {
		if reaches(a, ip) {
			wanted = append(wanted, ip)
		}
	}
	a.Permit(wanted...)
	r.mu.Unlock()
	r.e.log.Info("relay allocated", slog.String("url", relay.URL), slog.Any("addr", a.Relayed()))
	r.e.candidatesChanged()

	pipe, _ := conn.(*relayPipe)
	changed := h.serve(r, a, pipe, server)
	r.mu.Lock()
	h.moved = h.moved || changed
	delete(r.byVia, via)
	h.held = nil
	r.mu.Unlock()
	lost := a.Err() // nil: it is given up
	r.noteFailed(h, relay.URL, lost)
	if lost != nil {
		r.e.log.Info("relay lost", slog.String("url", relay.URL), slog.Any("err", lost))
	}
	r.e.viaLost(via)
	_ = a.Close()
	return true, nil
}

// serve waits until the allocation is lost or no longer wanted. An allocation belongs to the address that we had when
// it was made: when the network has changed the relay is asked whether it still knows us. A NAT that maps each destination by
// itself forgets a relay to which nothing is sent; pipe is nil if the relay is reached by TCP, for which they have more
// patience. serve reports whether the allocation was lost when the network was in question.
func (h *relayHolder) serve(r *relays, a *turnx.Allocation, pipe *relayPipe, server netip.AddrPort) (changed bool) {
	timer, warm := time.NewTimer(time.Hour), time.NewTimer(relayQuiet)
	timer.Stop()
	defer timer.Stop()
	defer warm.Stop()
	if pipe == nil {
		warm.Stop()
	}
	var question [12]byte
	defer func() { r.e.stun.forget([][12]byte{question}) }()
	var asked time.Time // when the network changed
	left, wait := 0, time.Duration(0)
	for {
		select {
		case <-a.Done():
			return a.Confirmed().Before(asked)
		case <-h.ctx.Done():
			return false
		case <-warm.C:
			quiet := time.Since(r.e.born) - time.Duration(pipe.sent.Load())
			if quiet >= r.e.stun.quiet(relayQuiet) {
				r.e.stun.forget([][12]byte{question})
				question = r.e.stun.askOnce(server, func(b []byte) error { return r.e.writeDirect(b, server) }, func(mapped netip.AddrPort) {
					if mapped != a.Mapped() {
						h.wake()
					}
				})
				quiet = 0
				r.sentTo(server)
			}
			warm.Reset(r.e.stun.quiet(relayQuiet) - quiet)
			continue
		case <-h.news:
			asked, left, wait = time.Now(), relayChecks, relayCheckMin
		case <-timer.C:
			if a.Confirmed().After(asked) {
				continue
			}
		}
		if left--; left >= 0 {
			a.Check()
			timer.Reset(wait)
			wait *= 2
		}
	}
}

// wake has the holder look after its allocation.
func (h *relayHolder) wake() {
	select {
	case h.news <- struct{}{}:
	default:
	}
}

// moved says whether the network has taken the last allocation away, once.
func (r *relays) moved(h *relayHolder) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	was := h.moved
	h.moved = false
	return was
}

// attempting notes that an attempt to get an allocation begins, or with nil that it is over.
func (r *relays) attempting(h *relayHolder, cancel context.CancelFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h.attempt, h.since = cancel, time.Now()
}

// networkChanged has every holder look after its allocation at once. uprooted says that no address is left that packets
// have been sent from: allocations made from there are lost.
func (r *relays) networkChanged(uprooted bool) {
	var lost []int32
	r.mu.Lock()
	for _, h := range r.holders {
		if uprooted && h.held != nil && h.shared {
			delete(r.byVia, h.via)
			lost = append(lost, h.via)
			h.moved = true
			h.held.Abandon()
			continue
		}
		h.wake()
		if h.attempt != nil && time.Since(h.since) >= relayStale { // it waits for an answer that will not come
			h.attempt()
		}
	}
	r.mu.Unlock()
	for _, via := range lost {
		r.e.viaLost(via)
	}
}

// viaLost tells all sessions that an allocation is gone.
func (e *Endpoint) viaLost(via int32) {
	e.eachSession(func(s *Session) { s.post(func(now time.Time) { s.viaLost(now, via) }) })
}
