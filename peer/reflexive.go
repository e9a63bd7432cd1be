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
	"strconv"
	"sync"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/pionx/stunx"
)

const (
	stunRetry   = 250 * time.Millisecond // first retransmission of a binding request (RFC 8489 §6.2.1 is slower)
	stunTries   = 6
	stunRefresh = 20 * time.Second // below the 30 s that many NATs keep an idle mapping
	maxSTUN     = 4
)

// reflexive learns the endpoint's server-reflexive addresses: how its sockets look from outside. It asks every STUN
// server from the sockets that carry everything else, so that the answer holds for them, and asks again before a
// NAT forgets the mapping.
type reflexive struct {
	e    *Endpoint
	kick chan struct{} // the list of servers changed

	mu      sync.Mutex
	servers []string
	pending map[[12]byte]stunQuery
	mapped  map[netip.AddrPort]netip.AddrPort // server → how it sees us
}

type stunQuery struct {
	server netip.AddrPort
	done   chan struct{}
}

func newReflexive(e *Endpoint) *reflexive {
	return &reflexive{
		e:       e,
		kick:    make(chan struct{}, 1),
		pending: make(map[[12]byte]stunQuery),
		mapped:  make(map[netip.AddrPort]netip.AddrPort),
	}
}

// use replaces the list of servers.
func (r *reflexive) use(servers []string) {
	r.mu.Lock()
	same := slices.Equal(r.servers, servers)
	r.servers = servers
	r.mu.Unlock()
	if !same {
		select {
		case r.kick <- struct{}{}:
		default:
		}
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

// run asks until the endpoint ends.
func (r *reflexive) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-r.e.ctx.Done():
			return
		case <-r.kick:
		case <-timer.C:
		}
		r.mu.Lock()
		servers := r.servers
		r.mu.Unlock()
		var wg sync.WaitGroup
		for _, s := range servers {
			for _, addr := range r.e.resolve(s) {
				wg.Go(func() { r.ask(addr) })
			}
		}
		wg.Wait()
		timer.Reset(stunRefresh + rand.N(stunRefresh/5))
	}
}

// resolve returns the addresses of "host:port", one for each family that the endpoint has a socket for.
func (e *Endpoint) resolve(hostport string) []netip.AddrPort {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		return nil
	}
	p, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil
	}
	var ips []netip.Addr
	if ip, err := netip.ParseAddr(host); err == nil {
		ips = []netip.Addr{ip}
	} else {
		ctx, cancel := context.WithTimeout(e.ctx, 5*time.Second)
		defer cancel()
		if ips, err = net.DefaultResolver.LookupNetIP(ctx, "ip", host); err != nil {
			e.log.Warn("name not resolved", slog.String("host", host), slog.Any("err", err))
			return nil
		}
	}
	var out []netip.AddrPort
	for _, s := range e.socks {
		for _, ip := range ips {
			ip = ip.Unmap()
			if ip.Is6() == s.v6 {
				out = append(out, netip.AddrPortFrom(ip, uint16(p)))
				break
			}
		}
	}
	return out
}

// ask sends a binding request to server, with retransmissions, and waits for the outcome.
func (r *reflexive) ask(server netip.AddrPort) {
	tx, msg := stunx.NewBinding()
	done := make(chan struct{})
	r.mu.Lock()
	r.pending[tx] = stunQuery{server, done}
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
		case <-r.e.ctx.Done():
			return
		case <-timer.C:
		}
		if try == stunTries {
			break
		}
		_ = r.e.writeDirect(msg, server)
		timer.Reset(wait)
		wait *= 2
	}
	r.e.log.Debug("stun server silent", slog.Any("server", server))
	r.mu.Lock()
	delete(r.mapped, server)
	r.mu.Unlock()
}

// handle takes a STUN message and reports whether it answers a question of ours.
func (r *reflexive) handle(b []byte, from netip.AddrPort) bool {
	tx, mapped, err := stunx.ParseBinding(b)
	if err != nil {
		return false
	}
	r.mu.Lock()
	q, ok := r.pending[tx]
	if !ok || q.server != from {
		r.mu.Unlock()
		return false
	}
	delete(r.pending, tx)
	old := r.mapped[from]
	r.mapped[from] = mapped
	r.mu.Unlock()
	close(q.done)
	if old != mapped {
		r.e.log.Debug("reflexive address", slog.Any("server", from), slog.Any("mapped", mapped))
		r.e.candidatesChanged()
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
