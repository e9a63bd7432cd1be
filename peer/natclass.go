// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"net/netip"
	"slices"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/pionx/stunx"
	"github.com/seed-98f0d4c2/runnel/mobility"
)

// natView is what STUN servers say of the NAT in front of the endpoint, over IPv4: nobody translates IPv6.
type natView struct {
	mapping mobility.Mapping
	addr    netip.AddrPort   // of the shared socket, as the first of servers sees it
	servers []netip.AddrPort // that answer, always in the same order, of different hosts as far as possible
}

func (r *reflexive) nat() natView {
	r.mu.Lock()
	answers := make(map[netip.AddrPort]netip.AddrPort)
	for server, mapped := range r.mapped {
		if server.Addr().Is4() {
			answers[server] = mapped
		}
	}
	deaf := r.deaf
	r.mu.Unlock()

	hosts, _ := r.e.cfg.Network.LocalAddrs()
	v := natView{mapping: mobility.ClassifyMapping(answers, func(ip netip.Addr) bool { return slices.Contains(hosts, ip) })}
	if deaf {
		v.mapping = mobility.MappingBlocked
	}
	for server := range answers {
		v.servers = append(v.servers, server)
	}
	slices.SortFunc(v.servers, func(a, b netip.AddrPort) int {
		if a.Port() != b.Port() {
			return int(a.Port()) - int(b.Port())
		}
		return a.Compare(b)
	})
	if len(v.servers) > 0 {
		v.addr = answers[v.servers[0]]
	}
	return v
}

// askOnce asks a server once, by a socket of the caller's choice. tell is called with the answer, if there is one, until
// forget is. It must not block.
func (r *reflexive) askOnce(server netip.AddrPort, send func([]byte) error, tell func(mapped netip.AddrPort)) (tx [12]byte) {
	tx, msg := stunx.NewBinding()
	r.mu.Lock()
	r.pending[tx] = stunQuery{server: server, tell: tell, until: time.Now().Add(pollLife)}
	r.mu.Unlock()
	_ = send(msg) // like a lost packet
	return tx
}

// forget ends the wait for answers.
func (r *reflexive) forget(txs [][12]byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, tx := range txs {
		delete(r.pending, tx)
	}
}
