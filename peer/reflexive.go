// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/pace"
	"github.com/seed-98f0d4c2/runnel/internal/pionx/stunx"
)

const (
	stunRetry   = 250 * time.Millisecond // first retransmission of a binding request (RFC 8489 §6.2.1 is slower)
	stunTries   = 6
	stunRefresh = 15500 * time.Millisecond // and up to stunJitter more: some NATs keep an idle mapping for 20 s
	stunJitter  = 2 * time.Second
	maxSTUN     = 4

	// newsEvery is how often the answers of one server may say that the network is another, beyond a burst of newsBurst. One
	// that lies, or stands behind a NAT with many addresses, says so each time it is asked.
	newsEvery = 10 * time.Second
	newsBurst = 6
)

// reflexive learns the endpoint's server-reflexive addresses: how its sockets look from outside. It asks every STUN
// server from the sockets that carry everything else, so that the answer holds for them, and asks again before a
// NAT forgets the mapping.
type reflexive struct {
	e    *Endpoint
	kick chan struct{} // the list of servers, or the network, has changed

	mu       sync.Mutex
	servers  []string
	pending  map[[12]byte]stunQuery
	mapped   map[netip.AddrPort]netip.AddrPort // server → how it sees us
	heed     map[netip.AddrPort]*heed          // by server
	silent   time.Time                         // when a server last answered, or polling began; zero: nobody polls
	answered bool                              // since polling began
	missed   int                               // polls since then
	glanced  time.Time                         // when a session in doubt last had a server asked
	polled   int                               // how often
	single   bool                              // one mapping serves all servers, as far as is known
	learnt   restLearner
	turn     int              // which server was last, where one suffices
	known    []netip.AddrPort // addresses of the servers
	deaf     bool             // a server has not answered, and none has since
}

// heed is how far what one server says is believed.
type heed struct {
	news    pace.Pace
	waiting bool // a poll has not been answered
}

type stunQuery struct {
	server netip.AddrPort
	done   chan struct{}               // closed when answered; nil if it is a poll's
	until  time.Time                   // when a poll is over
	tell   func(mapped netip.AddrPort) // if not nil, somebody else has asked, maybe by another socket
}

func newReflexive(e *Endpoint) *reflexive {
	return &reflexive{
		e:       e,
		kick:    make(chan struct{}, 1),
		pending: make(map[[12]byte]stunQuery),
		mapped:  make(map[netip.AddrPort]netip.AddrPort),
		heed:    make(map[netip.AddrPort]*heed),
	}
}

// use replaces the list of servers.
func (r *reflexive) use(servers []string) {
	r.mu.Lock()
	same := slices.Equal(r.servers, servers)
	r.servers = servers
	if !same {
		r.known = nil
	}
	r.mu.Unlock()
	if !same {
		r.askAll()
	}
}

// askAll has every server asked at once.
func (r *reflexive) askAll() {
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

// addrs returns the distinct addresses learnt so far.
func (r *reflexive) addrs() []netip.AddrPort {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []netip.AddrPort
	for _, a := range r.mapped {
		if !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, func(a, b netip.AddrPort) int { return a.Compare(b) })
	return out
}

// run asks all servers, again and again, until the endpoint ends.
func (r *reflexive) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var end context.CancelFunc // of the round under way
	defer func() {
		if end != nil {
			end()
		}
	}()
	for {
		select {
		case <-r.e.ctx.Done():
			return
		case <-r.kick:
			r.testQuiet(time.Now(), false)
		case <-timer.C:
			r.testQuiet(time.Now(), true)
			if r.refresh() {
				timer.Reset(r.next())
				continue
			}
		}
		if end != nil {
			end() // questions asked before a kick need no answer any more
		}
		round, cancel := context.WithCancel(r.e.ctx)
		end = cancel
		r.mu.Lock()
		servers, known := r.servers, slices.Clone(r.known)
		r.mu.Unlock()
		for _, addr := range known { // before any name has been looked up, which takes a network too
			r.e.wg.Go(func() { r.ask(round, addr) })
		}
		for _, s := range servers {
			r.e.wg.Go(func() {
				for _, addr := range r.e.resolve(s) {
					if r.learn(addr) {
						r.ask(round, addr)
					}
				}
			})
		}
		timer.Reset(r.next())
	}
}

// next is how long to leave the servers alone.
func (r *reflexive) next() time.Duration { return r.quiet(stunRefresh) + rand.N(stunJitter) }

// refresh keeps the mappings of a NAT that gives all servers the same one, which takes one question for each address family,
// and reports whether that was enough. The answer tells of a change.
func (r *reflexive) refresh() bool {
	r.mu.Lock()
	var ask [2][]netip.AddrPort // by family
	for _, server := range r.known {
		f := 0
		if server.Addr().Is6() {
			f = 1
		}
		mapped, ok := r.mapped[server]
		if !ok || len(ask[f]) > 0 && mapped != r.mapped[ask[f][0]] {
			r.single = false
			r.mu.Unlock()
			return false
		}
		ask[f] = append(ask[f], server)
	}
	r.turn++
	r.single = true
	turn := r.turn
	r.mu.Unlock()
	for _, servers := range ask {
		if held := slices.DeleteFunc(slices.Clone(servers), func(a netip.AddrPort) bool { return !r.e.relays.shared(a) }); len(held) > 0 {
			servers = held // a relay has to hear of us anyway
		}
		if len(servers) > 0 {
			r.e.wg.Go(func() { r.ask(r.e.ctx, servers[turn%len(servers)]) })
		}
	}
	return len(ask[0])+len(ask[1]) > 0
}

// learn notes the address of a server and reports whether it is new.
func (r *reflexive) learn(addr netip.AddrPort) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if slices.Contains(r.known, addr) || len(r.known) >= 2*maxSTUN {
		return false
	}
	r.known = append(r.known, addr)
	r.heed[addr] = &heed{}
	return true
}

// forgetLocked drops what servers have said that are not asked any more. r.mu is held.
func (r *reflexive) forgetLocked() {
	maps.DeleteFunc(r.mapped, func(server, _ netip.AddrPort) bool { return !slices.Contains(r.known, server) })
	maps.DeleteFunc(r.heed, func(server netip.AddrPort, _ *heed) bool { return !slices.Contains(r.known, server) })
}

// newsLocked says whether a server may say now that the network is another. r.mu is held.
func (r *reflexive) newsLocked(now time.Time, server netip.AddrPort) bool {
	return r.heed[server].news.Allow(now, newsEvery, newsBurst)
}

// ask sends a binding request to server, with retransmissions, and waits for the outcome.
func (r *reflexive) ask(ctx context.Context, server netip.AddrPort) {
	tx, msg := stunx.NewBinding()
	done := make(chan struct{})
	r.mu.Lock()
	r.pending[tx] = stunQuery{server: server, done: done}
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		delete(r.pending, tx)
		r.mu.Unlock()
	}()
	wait := stunRetry
	timer := time.NewTimer(0)
	defer timer.Stop()
	for try := 0; ; try++ {
		select {
		case <-done:
			return
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if try == stunTries {
			break
		}
		r.e.relays.sentTo(server)
		_ = r.e.writeDirect(msg, server)
		timer.Reset(wait)
		wait *= 2
	}
	r.e.log.Debug("stun server silent", slog.Any("server", server))
	r.mu.Lock()
	delete(r.mapped, server)
	r.forgetLocked()
	r.deaf = len(r.mapped) == 0
	r.mu.Unlock()
	r.e.names.forget(server)
}

// handle takes a STUN message and reports whether it answers a question of ours.
func (r *reflexive) handle(b []byte, from netip.AddrPort) bool {
	tx, mapped, err := stunx.ParseBinding(b)
	if err != nil {
		return false
	}
	now := time.Now()
	r.mu.Lock()
	q, ok := r.pending[tx]
	if !ok || q.server != from {
		r.mu.Unlock()
		return false
	}
	delete(r.pending, tx)
	if q.tell != nil {
		r.mu.Unlock()
		q.tell(mapped)
		return true
	}
	if q.done != nil {
		close(q.done)
	}
	if !slices.Contains(r.known, from) { // it was asked when it was a server of ours
		r.mu.Unlock()
		return true
	}
	r.forgetLocked()
	old := r.mapped[from]
	r.deaf = false
	r.heed[from].waiting = false
	if q.done != nil {
		r.learnt.heard(now, !old.IsValid() || old == mapped)
	}
	back := !r.silent.IsZero() && now.Sub(r.silent) >= backAfter && r.missed > backMissed
	changed := old.IsValid() && old != mapped
	if (back || changed) && !r.newsLocked(now, from) {
		back, changed, mapped = false, false, cmp.Or(old, mapped) // it will be asked again
	}
	r.mapped[from] = mapped
	if !r.silent.IsZero() {
		r.silent, r.answered, r.missed = now, true, 0
	}
	r.mu.Unlock()
	if old != mapped {
		r.e.log.Debug("reflexive address", slog.Any("server", from), slog.Any("mapped", mapped))
		r.e.candidatesChanged()
	}
	switch {
	case back:
		r.e.networkChanged("the network is back")
	case changed:
		r.e.networkChanged("the outside sees this host at another address")
	}
	return true
}

// asked reports whether b carries the transaction ID of a question of ours: a relay is often a STUN server too.
func (r *reflexive) asked(b []byte) bool {
	if !stunx.IsResponse(b) {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.pending[stunx.TransactionID(b)]
	return ok
}
