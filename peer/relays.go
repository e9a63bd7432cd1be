// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/pionx/turnx"
	"github.com/seed-98f0d4c2/runnel/internal/udp"
	"github.com/seed-98f0d4c2/runnel/signaling"
)

const maxRelays = 2 // allocations held at one time, each at another relay

// relays holds the endpoint's TURN allocations: one for each relay, shared by all sessions.
type relays struct {
	e    *Endpoint
	kick chan struct{}
	wg   sync.WaitGroup

	mu      sync.Mutex
	advised []signaling.Relay
	holders map[string]*relayHolder // by host, so that UDP, TCP and TLS to one relay are alternatives
	byVia   map[int32]*turnx.Allocation
	lastVia int32
	pipes   map[netip.AddrPort]*relayPipe // relays reached over the shared sockets
	wanted  map[netip.Addr]int            // addresses that may send to us through a relay, and by how many sessions
	guests  guests
	closed  bool

	glanced time.Time // when a session in doubt last had the relays asked
}

// An advised relay is one way to a relay, with its URL parsed.
type advised struct {
	addr signaling.RelayAddr
	signaling.Relay
}

func newRelays(e *Endpoint) *relays {
	return &relays{
		e:       e,
		kick:    make(chan struct{}, 1),
		holders: make(map[string]*relayHolder),
		byVia:   make(map[int32]*turnx.Allocation),
		pipes:   make(map[netip.AddrPort]*relayPipe),
		wanted:  make(map[netip.Addr]int),
		guests:  guests{of: make(map[ID][]guest)},
	}
}

// use replaces the relays to hold allocations at. Renewed credentials serve the next allocation.
func (r *relays) use(list []signaling.Relay) {
	r.mu.Lock()
	r.advised = list
	r.mu.Unlock()
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

// run starts and ends holders as the advice changes, until the endpoint ends.
func (r *relays) run() {
	for {
		select {
		case <-r.e.ctx.Done():
			r.wg.Wait()
			return
		case <-r.kick:
			r.arrange()
		}
	}
}

func (r *relays) arrange() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	want := make(map[string][]advised)
	var order []string
	for _, a := range r.advised {
		u, err := signaling.ParseRelayURL(a.URL)
		if err != nil {
			r.e.log.Warn("relay ignored", slog.Any("err", err))
			continue
		}
		if want[u.Host] == nil {
			order = append(order, u.Host)
		}
		want[u.Host] = append(want[u.Host], advised{u, a})
	}
	if len(order) > maxRelays {
		order = order[:maxRelays]
	}
	for host, h := range r.holders {
		if !slices.Contains(order, host) {
			h.cancel()
			delete(r.holders, host)
		}
	}
	for _, host := range order {
		urls := want[host]
		slices.SortStableFunc(urls, func(a, b advised) int { return relayRank(a.addr) - relayRank(b.addr) })
		if h := r.holders[host]; h != nil {
			h.urls = urls
			continue
		}
		h := &relayHolder{urls: urls, news: make(chan struct{}, 1)}
		h.ctx, h.cancel = context.WithCancel(r.e.ctx)
		r.holders[host] = h
		r.wg.Go(func() { r.hold(h) })
	}
}

// handleRelayed takes a datagram that came through a relay.
func (e *Endpoint) handleRelayed(via int32, b []byte, from netip.AddrPort) {
	if udp.Classify(b) != udp.Runnel {
		e.drop(dropUnknownClass)
		return
	}
	e.handleRunnel(train{b: b, segment: len(b), via: via, from: from})
}

var errRelayGone = errors.New("peer: relay allocation gone")

func (r *relays) write(via int32, b []byte, to netip.AddrPort) error {
	r.mu.Lock()
	a := r.byVia[via]
	r.mu.Unlock()
	if a == nil {
		return errRelayGone
	}
	return a.WriteTo(b, to)
}

// addrs returns the relayed addresses held.
func (r *relays) addrs() []netip.AddrPort {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]netip.AddrPort, 0, len(r.byVia))
	for _, via := range r.viasLocked() {
		out = append(out, r.byVia[via].Relayed())
	}
	return out
}

// addr returns the relayed address of an allocation, which is invalid if that is gone.
func (r *relays) addr(via int32) netip.AddrPort {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a := r.byVia[via]; a != nil {
		return a.Relayed()
	}
	return netip.AddrPort{}
}

// vias returns the bindings of the allocations that reach ip.
func (r *relays) vias(ip netip.Addr) []int32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(r.viasLocked(), func(via int32) bool { return !reaches(r.byVia[via], ip) })
}

func (r *relays) viasLocked() []int32 {
	out := make([]int32, 0, len(r.byVia))
	for via := range r.byVia {
		out = append(out, via)
	}
	slices.Sort(out)
	return out
}

// reaches says whether a relay may pass packets on to ip: one of another family cannot, and a public one does not
// know private addresses.
func reaches(a *turnx.Allocation, ip netip.Addr) bool {
	inner := func(ip netip.Addr) bool { return ip.IsPrivate() || ip.IsLoopback() }
	own := a.Relayed().Addr()
	return own.Is4() == ip.Is4() && (!inner(ip) || inner(own))
}

// close gives every allocation back while the sockets still work.
func (r *relays) close() {
	r.mu.Lock()
	r.closed = true
	for _, h := range r.holders {
		h.cancel()
	}
	r.mu.Unlock()
	r.wg.Wait()
}

// relayRank orders the ways to one relay: UDP costs least and TLS passes most firewalls.
func relayRank(a signaling.RelayAddr) int {
	switch {
	case a.TLS:
		return 2
	case a.Transport == "tcp":
		return 1
	default:
		return 0
	}
}

func hostport(a signaling.RelayAddr) string {
	return net.JoinHostPort(a.Host, strconv.Itoa(int(a.Port)))
}
