// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package netlab

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/pionx/vnetx"
)

// site is a public address with its link, perhaps a NAT, and its hosts.
type site struct {
	*vnetx.Site
	number int
	public netip.Addr
	nat    NAT
	link   link
	up     badLink
	down   badLink

	mu    sync.Mutex
	hosts []*Host
}

// close closes the sockets of the site's hosts, then the site.
func (s *site) close() error {
	s.mu.Lock()
	hosts := slices.Clone(s.hosts)
	s.mu.Unlock()
	for _, h := range hosts {
		h.closeAll()
	}
	return s.Close()
}

// HostConfig describes one host. Its values are literal: zero means no delay and no loss whatever the network's
// Config says.
type HostConfig struct {
	NAT    NAT
	OneWay time.Duration // of the host's link to the core
	Jitter time.Duration
	Loss   float64
}

// Host is a host on the network. It has the methods of peer.Network. All of them may be called from any goroutine.
type Host struct {
	net  *Network
	site *site
	addr netip.Addr // private behind a NAT
	ip   *vnetx.Host

	down    atomic.Bool
	blocked atomic.Pointer[func(netip.AddrPort) bool]
	dropped atomic.Uint64

	mu    sync.Mutex
	ports map[uint16]*conn
	next  uint16 // where the search for a free port starts
}

// Ports from here on are given to sockets that do not ask for one.
const firstEphemeral = 32768

// AddHost adds a host with its own public address, behind its own NAT unless that is Public. Its link is as the
// network's Config says.
func (n *Network) AddHost(nat NAT) (*Host, error) {
	n.mu.Lock()
	loss := n.loss
	n.mu.Unlock()
	return n.AddHostWith(HostConfig{NAT: nat, OneWay: n.cfg.OneWay, Jitter: n.cfg.Jitter, Loss: loss})
}

// AddHostWith adds a host with a link of its own. A public server next to the core is HostConfig{}.
func (n *Network) AddHostWith(c HostConfig) (*Host, error) {
	if c.OneWay < 0 || c.Jitter < 0 || !probability(c.Loss) || int(c.NAT) >= len(natNames) {
		return nil, fmt.Errorf("%w: host %+v", ErrConfig, c)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil, ErrClosed
	}
	i := len(n.sites)
	if i >= maxSites {
		return nil, fmt.Errorf("%w: more than %d sites", ErrConfig, maxSites)
	}
	s := &site{
		number: i,
		public: netip.AddrFrom4([4]byte{5, byte(i >> 8), byte(i), 1}),
		nat:    c.NAT,
		link:   link{oneWay: c.OneWay, jitter: c.Jitter, loss: c.Loss},
	}
	s.up.goOn, s.down.goOn = n.cross, n.arrive
	mapping, filtering := c.NAT.behaviour()
	var err error
	s.Site, err = vnetx.New(&vnetx.Config{
		Public:          s.public,
		NAT:             c.NAT != Public,
		LAN:             netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24),
		Mapping:         mapping,
		Filtering:       filtering,
		MappingLifetime: n.cfg.MappingLifetime,
		Egress: func(src, dst netip.AddrPort, payload []byte) {
			_ = n.enter(inbound{packet: Packet{From: src, To: dst, Payload: payload}, from: s}) // closed: lost
		},
	})
	if err != nil {
		return nil, fmt.Errorf("netlab: %w", err)
	}
	h, err := n.addHost(s)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	n.sites = append(n.sites, s)
	n.byAddr[s.public] = s
	return h, nil
}

// AddHostBehind adds a host to the private network of h, behind the same NAT and the same link. There must be a NAT.
func (n *Network) AddHostBehind(h *Host) (*Host, error) {
	if h.net != n || h.site.nat == Public {
		return nil, fmt.Errorf("%w: %v has no private network here", ErrConfig, h.addr)
	}
	return n.addHost(h.site)
}

func (n *Network) addHost(s *site) (*Host, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := &Host{net: n, site: s, addr: s.public, ports: make(map[uint16]*conn), next: firstEphemeral}
	if s.nat != Public {
		last := 2 + len(s.hosts)
		if last > 254 {
			return nil, fmt.Errorf("%w: private network is full", ErrConfig)
		}
		h.addr = netip.AddrFrom4([4]byte{10, byte(s.number >> 8), byte(s.number), byte(last)})
	}
	var err error
	if h.ip, err = s.AddHost(h.addr); err != nil {
		return nil, fmt.Errorf("netlab: %w", err)
	}
	s.hosts = append(s.hosts, h)
	n.log.Debug("netlab: host added", slog.Any("addr", h.addr), slog.Any("public", s.public), slog.Any("nat", s.nat))
	return h, nil
}

// LocalAddrs returns the host's own address, which is private behind a NAT.
func (h *Host) LocalAddrs() ([]netip.Addr, error) { return []netip.Addr{h.addr}, nil }

// PublicAddr returns the address by which the internet knows the host, or the NAT in front of it.
func (h *Host) PublicAddr() netip.Addr { return h.site.public }

// DialContext is not supported: there is no TCP here.
func (h *Host) DialContext(context.Context, string, string) (net.Conn, error) {
	return nil, fmt.Errorf("netlab: dial: %w", errors.ErrUnsupported)
}

// SetLoss sets the loss of the host's link in each direction, for packets that enter the core from now on. Hosts
// behind the same NAT share the link.
func (h *Host) SetLoss(p float64) { h.site.link.setLoss(p) }

// SetOneWay sets the delay of the host's link, for packets that enter the core from now on. Shortening it lets new
// packets overtake those under way.
func (h *Host) SetOneWay(d time.Duration) { h.site.link.setOneWay(d) }

// SetDown cuts or restores the cable between the host and its NAT or link. Packets sent or arriving meanwhile vanish
// without an error; the host keeps its address and its NAT keeps its mappings.
func (h *Host) SetDown(down bool) {
	h.down.Store(down)
	h.net.log.Debug("netlab: host cut", slog.Any("addr", h.addr), slog.Bool("down", down))
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

// Rebind reboots the NAT in front of the host, and with it of all hosts behind the same one: mappings are gone, and
// the next packets from inside get other external ports than before. Nobody outside can reach the host until it has
// sent something. On a public host it does nothing but lose the packets inside the host.
func (h *Host) Rebind() error {
	h.net.log.Debug("netlab: NAT rebooted", slog.Any("public", h.site.public))
	if err := h.site.Reboot(); err != nil {
		return fmt.Errorf("netlab: %w", err)
	}
	return nil
}

// Dropped counts packets that found their socket's queue full.
func (h *Host) Dropped() uint64 { return h.dropped.Load() }

func (h *Host) closeAll() {
	h.mu.Lock()
	conns := make([]*conn, 0, len(h.ports))
	for _, c := range h.ports {
		conns = append(conns, c)
	}
	h.mu.Unlock()
	for _, c := range conns {
		_ = c.Close() // closed before: not our concern
	}
}
