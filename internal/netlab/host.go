// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package netlab

import (
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Host is a host on the network. It has the methods of peer.Network. All of them may be called from any goroutine.
type Host struct {
	net *Network

	down    atomic.Bool
	blocked atomic.Pointer[func(netip.AddrPort) bool]
	dropped atomic.Uint64

	mu       sync.Mutex
	ifaces   []*iface // the first is the default route; none while detached
	detached []*iface // what Attach brings back
	home     *site    // of the default interface, also while detached
	ports    map[portKey]*conn
	v6       bool    // the host has ever been at a site with IPv6
	tcp      tcpHost // has a lock of its own
	next     uint16  // where the search for a free port starts
	changes  uint64  // of addresses and routes
	changed  chan struct{}
	view     View // of the host's own WaitChange
}

// Ports from here on are given to sockets that do not ask for one.
const firstEphemeral = 32768

// AddHost adds a host with its own public address, behind its own NAT unless that is Public. Its link is as the
// network's Config says.
func (n *Network) AddHost(nat NAT) (*Host, error) { return n.AddHostWith(n.hostConfig(nat)) }

func (n *Network) hostConfig(nat NAT) HostConfig {
	n.mu.Lock()
	defer n.mu.Unlock()
	return HostConfig{NAT: nat, OneWay: n.cfg.OneWay, Jitter: n.cfg.Jitter, Loss: n.loss}
}

// AddHostWith adds a host with a link of its own. A public server next to the core is HostConfig{}.
func (n *Network) AddHostWith(c HostConfig) (*Host, error) {
	s, err := n.addSite(&c)
	if err != nil {
		return nil, err
	}
	return n.addHost(s)
}

func (n *Network) addSite(c *HostConfig) (*site, error) {
	var parent *site
	if c.Behind != nil {
		if c.Behind.net != n {
			return nil, fmt.Errorf("%w: host of another network", ErrConfig)
		}
		parent = c.Behind.site()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil, ErrClosed
	}
	return n.newSite(c, parent)
}

// AddHostBehind adds a host to the private network of h, behind the same NAT and the same link. There must be a NAT.
func (n *Network) AddHostBehind(h *Host) (*Host, error) {
	if h.net != n {
		return nil, fmt.Errorf("%w: host of another network", ErrConfig)
	}
	return n.addHost(h.site())
}

func (n *Network) addHost(s *site) (*Host, error) {
	h := &Host{
		net:     n,
		home:    s,
		ports:   make(map[portKey]*conn),
		next:    firstEphemeral,
		changed: make(chan struct{}),
	}
	h.view.Host = h
	h.tcp.init()
	i, err := h.connect(s, addrs{})
	if err != nil {
		return nil, err
	}
	h.ifaces, h.v6 = []*iface{i}, i.v6.IsValid()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hosts = append(n.hosts, h)
	n.log.Debug("netlab: host added", slog.Any("addr", i.addrs), slog.Any("public", s.public()), slog.Any("nat", s.kind))
	return h, nil
}

// site returns the site of the host's default route, or the last one if it is detached.
func (h *Host) site() *site {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.home
}

// PublicAddr returns the IPv4 address by which the internet knows the host, or the outermost NAT in front of it. It is
// invalid where there is IPv6 only.
func (h *Host) PublicAddr() netip.Addr { return h.site().public() }

// NATStats returns what the nearest NAT in front of the host has done with UDP; all zero if there is none.
func (h *Host) NATStats() NATStats {
	s := h.site()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.nat.any() {
		return NATStats{}
	}
	return s.nat.udp.Stats()
}

// SetLoss sets the loss of the host's link in each direction, for packets that enter the core from now on. Hosts
// behind the same NAT share the link.
func (h *Host) SetLoss(p float64) { h.site().root().link.setLoss(p) }

// SetOneWay sets the delay of the host's link, for packets that enter the core from now on. Shortening it lets new
// packets overtake those under way.
func (h *Host) SetOneWay(d time.Duration) { h.site().root().link.setOneWay(d) }

// SetDown cuts or restores the cable between the host and its NAT or link. Packets sent or arriving meanwhile vanish
// without an error; the host keeps its address and its NAT keeps its mappings, and WaitChange hears nothing. See Detach
// for a cut that the host notices.
func (h *Host) SetDown(down bool) {
	h.down.Store(down)
	h.net.log.Debug("netlab: host cut", slog.Any("public", h.PublicAddr()), slog.Bool("down", down))
}

// BlockUDP is a firewall on the host: packets to and from addresses for which f is true vanish. Nil removes it. f
// is called from any goroutine and must not block.
func (h *Host) BlockUDP(f func(remote netip.AddrPort) bool) {
	if f == nil {
		h.blocked.Store(nil)
		return
	}
	h.blocked.Store(&f)
}

// passes reports whether cable and firewall let a packet to or from remote through.
func (h *Host) passes(remote netip.AddrPort) bool {
	if h.down.Load() {
		return false
	}
	f := h.blocked.Load()
	return f == nil || !(*f)(remote)
}

// Rebind reboots the nearest NAT in front of the host, and with it of all hosts behind the same one; a firewall too: mappings are gone, and
// the next packets from inside get other external ports than before, unless the NAT is Preserving. Nobody outside can
// reach the host until it has sent something. Where there is
// no NAT it does nothing.
func (h *Host) Rebind() error {
	s := h.site()
	if h.net.isClosed() {
		return ErrClosed
	}
	h.net.log.Debug("netlab: NAT rebooted", slog.Any("public", s.public()))
	s.reboot()
	return nil
}

// Renumber gives the host's site another public address, as a provider does that reconnects a line: mappings are gone and
// packets to the old address are lost. A host behind a NAT is not told; a public host, and every one with IPv6, has another
// address of its own, and WaitChange hears of it. Behind two NATs it is the outer one's address that changes.
func (h *Host) Renumber() error {
	if h.net.isClosed() {
		return ErrClosed
	}
	for other, a := range h.site().root().readdress() {
		other.readdressed(a[0], a[1])
	}
	return nil
}

// Dropped counts packets that found their socket's queue full.
func (h *Host) Dropped() uint64 { return h.dropped.Load() }

// take takes a packet that has come to the host.
func (h *Host) take(m message) {
	if m.tcp != nil {
		h.takeTCP(m)
		return
	}
	if !h.passes(m.src) {
		return
	}
	h.mu.Lock()
	c := h.ports[keyOf(m.dst)]
	if c != nil && !(h.owner(m.dst.Addr()) != nil && (c.local.Addr().IsUnspecified() || c.local.Addr() == m.dst.Addr())) {
		c = nil
	}
	h.mu.Unlock()
	if c != nil {
		c.receive(m.payload, m.src)
	}
}

func (h *Host) closeAll() {
	h.closeGroups()
	h.mu.Lock()
	conns := make([]*conn, 0, len(h.ports))
	for _, c := range h.ports {
		conns = append(conns, c)
	}
	h.mu.Unlock()
	for _, c := range conns {
		_ = c.Close() // closed before: not our concern
	}
	h.tcp.closeAll()
}
