// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/pionx/turnx"
)

const (
	allocateTimeout = 4 * time.Second
	nextWayAfter    = 400 * time.Millisecond // before another way to the same relay is tried besides
	relayRetryMin   = time.Second
	relayRetryMax   = time.Minute

	relaySteady   = 5 * time.Second          // an allocation that was held for so long, and is lost, is replaced at once
	relayStale    = 500 * time.Millisecond   // how long an attempt may have taken for news of the network to end it
	relayQuiet    = 17500 * time.Millisecond // without a packet to the relay: some NATs forget after 20 s
	relayCheckMin = 100 * time.Millisecond   // after which the relay is asked again whether it knows us; doubling
	relayChecks   = 5
	relayGlance   = 300 * time.Millisecond // between questions because a session doubts its path
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
	moved   bool               // the network took the last allocation away
	attempt context.CancelFunc // ends the attempt under way; nil: there is none
	since   time.Time          // when that began
	facts   relayNews
}

// hold keeps an allocation until h.ctx ends: by UDP if that works soon, else by TCP, else by TLS.
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

// A reached is an allocation with the way that leads to it.
type reached struct {
	a      *turnx.Allocation
	via    int32
	conn   net.PacketConn
	server netip.AddrPort
}

// tryWays tries the ways to the relay, and serves the first allocation until it is lost. The next way begins when the one
// before has failed, or has not answered for nextWayAfter. It reports whether there was an allocation.
func (r *relays) tryWays(h *relayHolder) (held bool) {
	r.mu.Lock()
	urls := slices.Clone(h.urls)
	r.mu.Unlock()
	ctx, cancel := context.WithCancel(h.ctx)
	defer cancel()
	r.attempting(h, cancel)
	defer r.attempting(h, nil)
	type outcome struct {
		*reached
		err error
		url string
	}
	outcomes := make(chan outcome, len(urls))
	timer := time.NewTimer(0)
	defer timer.Stop()
	begun, answered := 0, 0
	rest := func() { // whoever comes too late is not needed
		cancel()
		late := begun - answered
		r.wg.Go(func() {
			for range late {
				if o := <-outcomes; o.err == nil {
					r.leave(o.reached)
				}
			}
		})
	}
	for answered < len(urls) {
		select {
		case <-timer.C:
			if begun == len(urls) {
				continue
			}
			u := urls[begun]
			r.wg.Go(func() {
				w, err := r.reach(ctx, u)
				outcomes <- outcome{w, err, u.URL}
			})
			begun++
			timer.Reset(nextWayAfter)
		case o := <-outcomes:
			answered++
			if o.err == nil {
				rest()
				r.attempting(h, nil)
				r.keep(h, o.reached, o.url)
				return true
			}
			if ctx.Err() != nil { // all ways may work again, or none is wanted
				rest()
				return false
			}
			r.noteFailed(h, o.url, o.err)
			r.e.log.Info("relay not available", slog.String("url", o.url), slog.Any("err", o.err))
			timer.Reset(0)
		}
	}
	return false
}

// reach makes an allocation.
func (r *relays) reach(ctx context.Context, relay advised) (*reached, error) {
	ctx, cancel := context.WithTimeout(ctx, allocateTimeout)
	defer cancel()
	conn, server, err := r.connect(ctx, relay.addr)
	if err != nil {
		return nil, err
	}
	w := &reached{conn: conn, server: server}
	r.mu.Lock()
	r.lastVia++
	w.via = r.lastVia
	r.mu.Unlock()
	w.a, err = turnx.Allocate(ctx, &turnx.ClientConfig{
		Conn: conn, Server: server, Username: relay.Username, Password: relay.Credential, Log: r.e.log,
		OnPacket: func(b []byte, from netip.AddrPort) { r.e.handleRelayed(w.via, b, from) },
	})
	if err != nil {
		r.disconnect(conn, server)
		r.e.names.forget(server)
		return nil, err
	}
	return w, nil
}

// leave gives an allocation back.
func (r *relays) leave(w *reached) {
	_ = w.a.Close()
	r.disconnect(w.conn, w.server)
}

// keep has sessions use an allocation until it is lost.
func (r *relays) keep(h *relayHolder, w *reached, url string) {
	a := w.a
	r.mu.Lock()
	r.byVia[w.via] = a
	h.held, h.via = a, w.via
	h.noteHeld(url)
	wanted := make([]netip.Addr, 0, len(r.wanted))
	for ip := range r.wanted {
		if reaches(a, ip) {
			wanted = append(wanted, ip)
		}
	}
	a.Permit(wanted...)
	r.mu.Unlock()
	r.e.log.Info("relay allocated", slog.String("url", url), slog.Any("addr", a.Relayed()))
	r.e.candidatesChanged()

	changed := h.serve(r, w)
	r.mu.Lock()
	h.moved = h.moved || changed
	delete(r.byVia, w.via)
	h.held = nil
	r.mu.Unlock()
	lost := a.Err() // nil: it is given up
	r.noteFailed(h, url, lost)
	if lost != nil {
		r.e.log.Info("relay lost", slog.String("url", url), slog.Any("err", lost))
	}
	r.e.viaLost(w.via)
	r.leave(w)
}

// serve waits until the allocation is lost or no longer wanted. An allocation belongs to the address that we had when
// it was made: when the network has changed the relay is asked whether it still knows us. A NAT that maps each destination by
// itself forgets a relay to which nothing is sent; for TCP they have more patience. serve reports whether the allocation was
// lost when the network was in question.
func (h *relayHolder) serve(r *relays, w *reached) (changed bool) {
	a, server := w.a, w.server
	pipe, _ := w.conn.(*relayPipe) // nil by TCP
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
		if uprooted && h.held != nil {
			delete(r.byVia, h.via)
			lost = append(lost, h.via)
			h.moved = true
			h.held.Abandon()
			continue
		}
		h.wake()
		if h.attempt != nil && (uprooted || time.Since(h.since) >= relayStale) { // it waits for an answer that will not come
			h.attempt()
		}
	}
	r.mu.Unlock()
	for _, via := range lost {
		r.e.viaLost(via)
	}
}

// glance asks every relay whether it still knows us, because a session doubts its path: when a NAT has forgotten us, the
// allocations are lost too.
func (r *relays) glance(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.glanced) < relayGlance {
		return
	}
	r.glanced = now
	for _, h := range r.holders {
		if h.held != nil {
			h.held.Check()
		}
	}
}

// viaLost tells all sessions that an allocation is gone.
func (e *Endpoint) viaLost(via int32) {
	e.eachSession(func(s *Session) { s.post(func(now time.Time) { s.viaLost(now, via) }) })
}
