// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"
)

const (
	nameLife = 10 * time.Minute // how long the addresses of a name are believed
	maxNames = 64
)

// names remembers the addresses of STUN servers and relays: when the network has just changed, or comes and goes, there
// is no time to ask for them.
type names struct {
	mu   sync.Mutex
	list map[string]namedAddrs
}

type namedAddrs struct {
	ips []netip.Addr
	at  time.Time
}

func (n *names) get(host string) []netip.Addr {
	n.mu.Lock()
	defer n.mu.Unlock()
	if e, ok := n.list[host]; ok && time.Since(e.at) < nameLife {
		return e.ips
	}
	return nil
}

func (n *names) put(host string, ips []netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.list == nil || len(n.list) >= maxNames {
		n.list = make(map[string]namedAddrs)
	}
	n.list[host] = namedAddrs{ips, time.Now()}
}

// forget gives up an address that turned out not to answer. A name that has no other is looked up again when it is needed;
// one that has stays known by that, for a host without IPv6 would ask for names all the time.
func (n *names) forget(addr netip.AddrPort) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for host, e := range n.list {
		if !slices.Contains(e.ips, addr.Addr()) {
			continue
		}
		if e.ips = slices.DeleteFunc(slices.Clone(e.ips), func(ip netip.Addr) bool { return ip == addr.Addr() }); len(e.ips) == 0 {
			delete(n.list, host)
			continue
		}
		n.list[host] = e
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
		ips = []netip.Addr{ip.Unmap()}
	} else if ips = e.names.get(host); ips == nil {
		ctx, cancel := context.WithTimeout(e.ctx, 5*time.Second)
		defer cancel()
		if ips, err = net.DefaultResolver.LookupNetIP(ctx, "ip", host); err != nil {
			e.log.Warn("name not resolved", slog.String("host", host), slog.Any("err", err))
			return nil
		}
		for i := range ips {
			ips[i] = ips[i].Unmap()
		}
		e.names.put(host, ips)
	}
	var out []netip.AddrPort
	for _, s := range e.socks {
		for _, ip := range ips {
			if ip.Is6() == s.v6 {
				out = append(out, netip.AddrPortFrom(ip, uint16(p)))
				break
			}
		}
	}
	return out
}
