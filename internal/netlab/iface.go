// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package netlab

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"syscall"
)

// An iface is a host's connection to a site. It is not changed once the host has it.
type iface struct {
	site *site
	addrs
}

// connect connects the host to a site, with the addresses that it had there if it had any; the interface is not yet in use.
func (h *Host) connect(s *site, had addrs) (*iface, error) {
	a, err := s.join(h, had)
	if err != nil {
		return nil, err
	}
	return &iface{s, a}, nil
}

// of returns the address of one family.
func (a addrs) of(v6 bool) netip.Addr {
	if v6 {
		return a.v6
	}
	return a.v4
}

// disconnect takes what an interface has from its site.
func (i *iface) disconnect() { i.site.leave(i.addrs) }

// owner returns the interface that has an address, or nil. Called with h.mu held.
func (h *Host) owner(a netip.Addr) *iface {
	for _, i := range h.ifaces {
		if i.has(a) {
			return i
		}
	}
	return nil
}

// route returns the interface by which a packet leaves, and its source address. A socket bound to an address uses that
// one; any other uses the default route, unless the destination is on the network of another interface.
func (h *Host) route(local, to netip.Addr) (*iface, netip.Addr, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !local.IsUnspecified() {
		if i := h.owner(local); i != nil {
			return i, local, nil
		}
		return nil, netip.Addr{}, syscall.ENETUNREACH
	}
	var best *iface
	for _, i := range h.ifaces {
		if !i.of(to.Is6()).IsValid() {
			continue
		}
		if i.site.nat.any() && i.site.lan.Contains(to) {
			best = i
			break
		}
		if best == nil {
			best = i
		}
	}
	if best == nil {
		return nil, netip.Addr{}, syscall.ENETUNREACH
	}
	return best, best.of(to.Is6()), nil
}

// change gives the host other interfaces and tells those who wait. It returns the interfaces that are gone.
func (h *Host) change(f func()) (gone []*iface) {
	h.mu.Lock()
	defer h.mu.Unlock()
	before := slices.Clone(h.ifaces)
	f()
	if len(h.ifaces) > 0 {
		h.home = h.ifaces[0].site
	}
	for _, i := range h.ifaces {
		h.v6 = h.v6 || i.v6.IsValid()
	}
	h.abortStreams()
	h.changes++
	close(h.changed)
	h.changed = make(chan struct{})
	return slices.DeleteFunc(before, func(i *iface) bool { return slices.Contains(h.ifaces, i) })
}

// MoveTo brings the host to a new site of its own, as one who leaves the house with a phone: it has another local address
// behind another NAT at another public address, by a link as the network's Config says. The old site stays, without the
// host. Sockets stay open: those bound to the wildcard send from the new address; those bound to the old address get
// ENETUNREACH. SetLoss, SetConditions and the like are about the new site from now on.
func (h *Host) MoveTo(nat NAT) error { return h.MoveWith(h.net.hostConfig(nat)) }

// MoveWith is MoveTo with a link of its own.
func (h *Host) MoveWith(c HostConfig) error {
	s, err := h.net.addSite(&c)
	if err != nil {
		return err
	}
	return h.moveInto(s)
}

// MoveBehind brings the host to the private network of another one; else it is as MoveTo.
func (h *Host) MoveBehind(other *Host) error {
	if other.net != h.net {
		return fmt.Errorf("%w: host of another network", ErrConfig)
	}
	return h.moveInto(other.site())
}

func (h *Host) moveInto(s *site) error {
	i, err := h.connect(s, addrs{})
	if err != nil {
		return err
	}
	gone := h.change(func() { h.detached, h.ifaces = nil, []*iface{i} })
	for _, old := range gone {
		old.disconnect()
	}
	h.net.log.Debug("netlab: host moved", slog.Any("addr", i.addrs), slog.Any("public", s.public()), slog.Any("nat", s.kind))
	return nil
}

// Detach takes all the host's addresses away, as when a radio is switched off: sends fail with ENETUNREACH, and nothing
// arrives. WaitChange hears of it. Attach brings them back, MoveTo brings others. For a hole without an error see SetDown.
// On a host that is detached it does nothing.
func (h *Host) Detach() {
	h.mu.Lock()
	already := len(h.ifaces) == 0
	h.mu.Unlock()
	if already {
		return
	}
	gone := h.change(func() { h.detached, h.ifaces = h.ifaces, nil })
	for _, i := range gone {
		i.disconnect()
	}
}

// Attach undoes Detach: the host is where it was, with the addresses that it had unless somebody has them now, and its NAT
// has not forgotten it unless the mappings have expired. On a host that is not detached it does nothing.
func (h *Host) Attach() error {
	h.mu.Lock()
	stored := h.detached
	h.detached = nil
	h.mu.Unlock()
	if len(stored) == 0 {
		return nil
	}
	back := make([]*iface, 0, len(stored))
	for _, i := range stored {
		again, err := h.connect(i.site, i.addrs)
		if err != nil {
			return err
		}
		back = append(back, again)
	}
	h.change(func() { h.ifaces = back })
	return nil
}

// AddInterface connects the host to a second site, a new one of its own, while it keeps the first: packets are accepted
// by both. Packets go out by the first until SetDefault says otherwise, except from sockets bound to an address of another.
// It returns the host's local address there, which names the interface: that of IPv4, if there is one.
func (h *Host) AddInterface(c HostConfig) (netip.Addr, error) {
	s, err := h.net.addSite(&c)
	if err != nil {
		return netip.Addr{}, err
	}
	i, err := h.connect(s, addrs{})
	if err != nil {
		return netip.Addr{}, err
	}
	h.change(func() { h.ifaces = append(h.ifaces, i) })
	if i.v4.IsValid() {
		return i.v4, nil
	}
	return i.v6, nil
}

// SetDefault sends packets out by the interface with that address from now on.
func (h *Host) SetDefault(addr netip.Addr) error {
	return h.changeOne(addr, func(i *iface) {
		rest := slices.DeleteFunc(slices.Clone(h.ifaces), func(o *iface) bool { return o == i })
		h.ifaces = append([]*iface{i}, rest...)
	})
}

// RemoveInterface takes the interface with that address away. The default route becomes that of the oldest one left.
func (h *Host) RemoveInterface(addr netip.Addr) error {
	return h.changeOne(addr, func(i *iface) {
		h.ifaces = slices.DeleteFunc(slices.Clone(h.ifaces), func(o *iface) bool { return o == i })
	})
}

func (h *Host) changeOne(addr netip.Addr, f func(i *iface)) error {
	h.mu.Lock()
	i := h.owner(addr)
	h.mu.Unlock()
	if i == nil {
		return fmt.Errorf("%w: no interface with address %v", ErrConfig, addr)
	}
	for _, gone := range h.change(func() { f(i) }) {
		gone.disconnect()
	}
	return nil
}

// readdressed is told by a site that some of the host's addresses there are others.
func (h *Host) readdressed(old, now addrs) {
	h.change(func() {
		h.ifaces = slices.Clone(h.ifaces)
		for k, i := range h.ifaces {
			a := i.addrs
			if old.v4.IsValid() && a.v4 == old.v4 {
				a.v4 = now.v4
			}
			if old.v6.IsValid() && a.v6 == old.v6 {
				a.v6 = now.v6
			}
			h.ifaces[k] = &iface{i.site, a}
		}
	})
}

// LocalAddrs returns the host's own addresses, of which those of IPv4 are private behind a NAT; first those of the default
// route. None while it is detached.
func (h *Host) LocalAddrs() ([]netip.Addr, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make([]netip.Addr, 0, 2*len(h.ifaces))
	for _, i := range h.ifaces {
		for _, a := range []netip.Addr{i.v4, i.v6} {
			if a.IsValid() {
				all = append(all, a)
			}
		}
	}
	return all, nil
}

// WaitChange blocks until the host's addresses or routes have changed since it last returned. A change that happened
// meanwhile returns at once; several merge. Changes that the host cannot know of (NATs, SetDown) do not count. All who
// call it share one memory of what was returned; see View.
func (h *Host) WaitChange(ctx context.Context) error { return h.view.WaitChange(ctx) }

// A View is a host as one program on it sees it: WaitChange has a memory of its own.
type View struct {
	*Host
	seen uint64 // guarded by Host.mu
}

// View returns a new one, which has not seen the changes that are still to come.
func (h *Host) View() *View {
	h.mu.Lock()
	defer h.mu.Unlock()
	return &View{Host: h, seen: h.changes}
}

// WaitChange is Host.WaitChange with the memory of v. It returns the context's error, or ErrClosed if the network is closed.
func (v *View) WaitChange(ctx context.Context) error {
	for {
		v.mu.Lock()
		news, changed := v.changes != v.seen, v.changed
		v.seen = v.changes
		v.mu.Unlock()
		if news {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-v.net.done:
			return ErrClosed
		}
	}
}
