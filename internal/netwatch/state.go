// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package netwatch

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// A State is what this host's network looked like at one moment. The zero State is a host without any.
type State struct {
	Interfaces []Interface // in order of name
	Default4   Route       // the way out by IPv4
	Default6   Route       // and by IPv6
}

// An Interface is one network interface.
type Interface struct {
	Name     string
	Loopback bool
	Up       bool         // switched on
	Running  bool         // and with a carrier, as far as the system can tell
	Addrs    []netip.Addr // in order; without zone
}

// A Route is the way that packets to the public internet take. The zero Route is none.
type Route struct {
	Interface string
	Gateway   netip.Addr // not valid if there is none, or it is not known
	Source    netip.Addr // the address that packets get; not valid if not known
}

// Equal reports whether nothing that matters differs.
func (s State) Equal(t State) bool { return s.Diff(t) == "" }

// maxDiff bounds the parts of a sentence. A host of containers may lose hundreds of interfaces at a time.
const maxDiff = 6

// Diff says in one sentence how next differs from s in what matters, for people. It is empty if it does not.
func (s State) Diff(next State) string {
	var d []string
	before, after := s.relevant(), next.relevant()
	names := make([]string, 0, len(before)+len(after))
	for name := range before {
		names = append(names, name)
	}
	for name := range after {
		if _, ok := before[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		d = append(d, diffInterface(name, before[name], after[name])...)
	}
	d = append(d, diffRoute("default route", s.Default4, next.Default4)...)
	d = append(d, diffRoute("IPv6 default route", s.Default6, next.Default6)...)
	if len(d) > maxDiff {
		d = append(d[:maxDiff-1], fmt.Sprintf("and %d changes more", len(d)-maxDiff+1))
	}
	return strings.Join(d, "; ")
}

// relevant returns the interfaces by which something may come or go: with addresses, of which only those are left that
// count.
func (s State) relevant() map[string]Interface {
	m := make(map[string]Interface)
	for _, i := range s.Interfaces {
		if i.Loopback {
			continue
		}
		i.Addrs = slices.DeleteFunc(slices.Clone(i.Addrs), func(a netip.Addr) bool { return !counts(a) })
		if len(i.Addrs) > 0 {
			m[i.Name] = i
		}
	}
	return m
}

// counts says whether having an address, or not, makes a difference to anybody outside.
func counts(a netip.Addr) bool {
	return a.IsGlobalUnicast() || (a.Is4() && a.IsLinkLocalUnicast())
}

func (i Interface) live() bool { return i.Up && i.Running }

// diffInterface compares two relevant states of one interface; that without addresses is one in which it has none.
func diffInterface(name string, a, b Interface) []string {
	if !a.live() && !b.live() {
		return nil // what addresses it has does not matter
	}
	var d []string
	switch {
	case len(b.Addrs) == 0: // lost below
	case a.live() && !b.Up:
		d = append(d, name+" is down")
	case a.live() && !b.Running:
		d = append(d, name+" has no carrier")
	case !a.live() && len(a.Addrs) > 0:
		d = append(d, name+" is up")
	}
	if lost := without(a.Addrs, b.Addrs); len(lost) > 0 && a.live() {
		d = append(d, name+" lost "+join(lost))
	}
	if got := without(b.Addrs, a.Addrs); len(got) > 0 && b.live() {
		d = append(d, name+" got "+join(got))
	}
	return d
}

func diffRoute(what string, a, b Route) []string {
	switch {
	case a == b:
		return nil
	case b == Route{}:
		return []string{what + " is gone"}
	case a.Interface != b.Interface:
		return []string{what + " is now by " + cmp.Or(b.Interface, "an unknown interface")}
	case a.Gateway != b.Gateway && b.Gateway.IsValid():
		return []string{what + " is now through " + b.Gateway.String()}
	case a.Source != b.Source && b.Source.IsValid():
		return []string{what + " is now from " + b.Source.String()}
	}
	return []string{what + " has changed"}
}

// without returns what is in a and not in b.
func without(a, b []netip.Addr) []netip.Addr {
	var out []netip.Addr
	for _, x := range a {
		if !slices.Contains(b, x) {
			out = append(out, x)
		}
	}
	return out
}

// maxNamed bounds the addresses that are written out.
const maxNamed = 4

func join(addrs []netip.Addr) string {
	var b strings.Builder
	for i, a := range addrs {
		if i == maxNamed {
			fmt.Fprintf(&b, " and %d more", len(addrs)-i)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(a.String())
	}
	return b.String()
}

// sorted puts a state that was just read in order, so that two can be compared.
func (s State) sorted() State {
	for _, i := range s.Interfaces {
		slices.SortFunc(i.Addrs, netip.Addr.Compare)
	}
	slices.SortFunc(s.Interfaces, func(a, b Interface) int { return cmp.Compare(a.Name, b.Name) })
	return s
}

// clone returns a copy that shares nothing.
func (s State) clone() State {
	s.Interfaces = slices.Clone(s.Interfaces)
	for i := range s.Interfaces {
		s.Interfaces[i].Addrs = slices.Clone(s.Interfaces[i].Addrs)
	}
	return s
}
