// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package portmap

import (
	"crypto/rand"
	mathrand "math/rand/v2"
	"net/netip"
	"time"
)

const (
	// MaxLease is the longest time for which a mapping is believed to last without being renewed.
	MaxLease = 2 * time.Hour

	// leaseTime is what is asked for. It is short so that a router that has restarted, or a process that has died, is
	// noticed soon: a renewal costs two packets.
	leaseTime = 20 * time.Minute

	minRenewal = 4 * time.Second // RFC 6887 §11.2.1
	maxBackoff = 2 * time.Hour
	minSpacing = time.Second // between attempts, however often the network changes
)

// A lease is what one socket shall have.
type lease struct {
	local netip.AddrPort // of the socket
	v6    bool

	gw    Gateway
	nonce [12]byte       // the same for all requests to a router: it proves that later ones are the first one's (RFC 6887 §11.2)
	wish  netip.AddrPort // what was granted last by this router
	epoch epoch

	grant *grant // nil if there is none
	err   error  // why there is none
	fails int    // in a row
	tried time.Time
	next  time.Time // when to try
}

// A grant is a mapping that a router has made.
type grant struct {
	protocol Protocol
	external netip.AddrPort
	expires  time.Time // zero if never
	wan      wan       // if by UPnP
}

// forget lets the lease begin anew.
func (l *lease) forget(now time.Time) {
	l.fails = 0
	l.next = now
	if earliest := l.tried.Add(minSpacing); l.next.Before(earliest) {
		l.next = earliest
	}
	if l.grant != nil {
		l.grant.expires = now // and if it is not renewed at once it is no more
	}
}

// meet takes note of the router. Another one knows nothing of what was granted, and must not know what it was.
func (l *lease) meet(gw Gateway) {
	if gw == l.gw {
		return
	}
	l.gw, l.grant, l.epoch = gw, nil, epoch{}
	_, _ = rand.Read(l.nonce[:])
	unspecified := netip.IPv4Unspecified()
	if l.v6 {
		unspecified = netip.IPv6Unspecified()
	}
	l.wish = netip.AddrPortFrom(unspecified, l.local.Port())
}

// request is the one for a mapping, or with a zero lifetime for its end.
func (l *lease) request(lifetime time.Duration) mapRequest {
	return mapRequest{
		client: l.gw.Local, port: l.local.Port(), nonce: l.nonce, external: l.wish,
		lifetime: uint32(lifetime / time.Second),
	}
}

// granted takes a mapping that lasts for so long, or for ever if zero. A renewal is due after half of the time, later by
// up to an eighth of it (RFC 6887 §11.2.1).
func (l *lease) granted(now time.Time, g *grant, lifetime time.Duration) {
	renewal := leaseTime
	if lifetime > 0 {
		renewal = min(lifetime, MaxLease)
		g.expires = now.Add(renewal)
	}
	l.grant, l.wish, l.err, l.fails = g, g.external, nil, 0
	l.next = now.Add(max(minRenewal, renewal/2+mathrand.N(renewal/8)))
}

// failed takes the reason why there is no mapping, or none any more.
func (l *lease) failed(now time.Time, err error, silent bool) {
	g := l.grant
	switch {
	case g == nil:
		l.err = err
		l.next = now.Add(l.backoff())
	case silent && (g.expires.IsZero() || now.Before(g.expires)):
		// It may not have heard us. RFC 6887 §11.2.1: halve the time that is left.
		left := leaseTime
		if !g.expires.IsZero() {
			left = g.expires.Sub(now)
		}
		l.next = now.Add(max(minRenewal, left/2))
	default:
		l.grant, l.err = nil, err
		l.next = now // look for another way at once
	}
}

// backoff is how long to wait before the next search: 1, 4, 16, 64, then 120 minutes, and up to a quarter more.
func (l *lease) backoff() time.Duration {
	d := maxBackoff
	if l.fails < 4 {
		d = time.Minute << (2 * l.fails)
	}
	l.fails++
	return d + mathrand.N(d/4)
}
