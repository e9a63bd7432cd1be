// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package portmap

import (
	"net/netip"
	"net/url"
	"time"
)

// How an inquiry takes its time. A router is a millisecond away, so that these are patient where RFC 6886 §3.1 and
// RFC 6887 §8.1.1, which think of servers further off, would have an app wait for a minute.
const (
	firstRetry = 250 * time.Millisecond // doubled each time
	maxTries   = 4
	pmpGrace   = 300 * time.Millisecond // that PCP has to answer once NAT-PMP has
	upnpGrace  = time.Second            // that both have once UPnP could be tried
)

// A phase is how far the inquiry is with one protocol.
type phase uint8

const (
	unused phase = iota
	asking
	known   // it is there, but nothing has been mapped yet
	mapping // NAT-PMP: the mapping itself has been asked for
	granted
	failed
)

// An inquiry is one attempt to get, renew or end a mapping with packets. It is a machine: HandlePacket takes what comes,
// Poll says what to send, and NextTimeout when to call Poll again. Only what makes no mapping is asked at once by every
// protocol, so that a router that speaks several is not left with several mappings: PCP MAP, NAT-PMP for its address,
// and UPnP for its presence.
type inquiry struct {
	gw    netip.Addr
	req   mapRequest
	epoch *epoch

	pcp, pmp, upnp phase
	err            error // of the protocol that knows best why there is none
	lost           bool  // an answer has shown that the router has lost its mappings

	started  time.Time
	resend   time.Time
	tries    int
	pmpSince time.Time
	outside  netip.Addr // NAT-PMP's answer

	response mapResponse // of PCP or NAT-PMP, whichever is granted
	location *url.URL    // of a UPnP device
}

// A datagram is something to send.
type datagram struct {
	b  []byte
	to netip.AddrPort
}

// ports of the router.
const (
	pcpPort  = 5351
	ssdpPort = 1900
)

// newInquiry asks by the protocols that are given.
func newInquiry(now time.Time, gw netip.Addr, req mapRequest, e *epoch, protocols ...Protocol) *inquiry {
	q := &inquiry{gw: gw, req: req, epoch: e, started: now, resend: now}
	for _, p := range protocols {
		switch p {
		case PCP:
			q.pcp = asking
		case NATPMP:
			q.pmp = asking
			if req.lifetime == 0 {
				q.pmp = mapping // nobody cares for the address any more
			}
		case UPnP:
			q.upnp = asking
		}
	}
	return q
}

// HandlePacket takes a packet. b is not kept.
func (q *inquiry) HandlePacket(now time.Time, b []byte, from netip.AddrPort) {
	switch {
	case from.Addr() != q.gw: // RFC 6886 §3.1, RFC 6887 §8.3: nobody else may answer
	case from.Port() == pcpPort:
		q.handlePCP(now, b)
		q.handlePMP(now, b)
	case q.upnp == asking:
		if loc, err := parseSearch(b, q.gw); err == nil {
			q.upnp, q.location = known, loc
		}
	}
}

func (q *inquiry) handlePCP(now time.Time, b []byte) {
	if q.pcp != asking {
		return
	}
	m, err := q.req.parsePCP(b)
	switch {
	case err != nil:
	case m.code == pcpUnsupportedVersion:
		q.pcp = failed
	case m.code != 0:
		q.pcp, q.err = failed, &RefusedError{PCP, m.code}
	default:
		q.lost = q.epoch.pcp(now, m.epoch)
		q.pcp, q.response = granted, m
	}
}

func (q *inquiry) handlePMP(now time.Time, b []byte) {
	switch q.pmp {
	case asking:
		m, err := parsePMPExternal(b)
		switch {
		case err != nil:
		case m.code != 0:
			q.refusePMP(m.code)
		default:
			q.pmp, q.pmpSince, q.outside = known, now, m.external.Addr()
		}
	case mapping:
		m, err := q.req.parsePMP(b)
		switch {
		case err != nil:
		case m.code != 0:
			q.refusePMP(m.code)
		default:
			q.lost = q.epoch.pmp(now, m.epoch)
			m.external = netip.AddrPortFrom(q.outside, m.external.Port())
			q.pmp, q.response = granted, m
		}
	default:
	}
}

func (q *inquiry) refusePMP(code int) {
	q.pmp = failed
	if q.err == nil {
		q.err = &RefusedError{NATPMP, code}
	}
}

// Poll returns what is to be sent now.
func (q *inquiry) Poll(now time.Time) []datagram {
	if q.pmp == known && (q.pcp != asking || !now.Before(q.pmpSince.Add(pmpGrace))) {
		q.pmp, q.tries, q.resend = mapping, 0, now
		if q.pcp == asking {
			q.pcp = failed // one mapping is enough
		}
		if q.req.lifetime > 0 && !public(q.outside) {
			q.pmp, q.err = failed, &NotPublicError{q.outside}
		}
	}
	if now.Before(q.resend) || q.tries == maxTries || !q.pending() {
		return nil
	}
	q.resend = now.Add(firstRetry << q.tries)
	q.tries++
	var out []datagram
	server := netip.AddrPortFrom(q.gw, pcpPort)
	if q.pcp == asking {
		out = append(out, datagram{q.req.appendPCP(nil), server})
	}
	switch q.pmp {
	case asking:
		out = append(out, datagram{appendPMPExternal(nil), server})
	case mapping:
		out = append(out, datagram{q.req.appendPMP(nil), server})
	default:
	}
	if q.upnp == asking && q.tries < maxTries {
		search := appendSearch(nil)
		// Unicast reaches routers that their own Wi-Fi keeps multicast from (UPnP Device Architecture 2.0 §1.3.2).
		out = append(out, datagram{search, ssdpGroup}, datagram{search, netip.AddrPortFrom(q.gw, ssdpPort)})
	}
	return out
}

func (q *inquiry) pending() bool {
	return q.pcp == asking || q.pmp == asking || q.pmp == known || q.pmp == mapping || q.upnp == asking
}

// NextTimeout is when to Poll next, or decide.
func (q *inquiry) NextTimeout() time.Time {
	t := q.resend
	if q.pmp == known {
		t = earlier(t, q.pmpSince.Add(pmpGrace))
	}
	if q.upnp == known {
		t = earlier(t, q.started.Add(upnpGrace))
	}
	return t
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// outcome returns the protocol that has made it, with done, or the reason why none has. That of UPnP means that it may be
// tried, at q.location.
func (q *inquiry) outcome(now time.Time) (p Protocol, done bool, err error) {
	over := q.tries == maxTries && !now.Before(q.resend)
	switch {
	case q.pcp == granted:
		return PCP, true, nil
	case q.pmp == granted:
		return NATPMP, true, nil
	case q.pmp == known || (q.pmp == mapping && !over):
		return 0, false, nil
	case q.upnp == known && (over || (q.pcp != asking && q.pmp == failed) || !now.Before(q.started.Add(upnpGrace))):
		return UPnP, true, nil
	case over || !q.pending():
		if q.upnp == known {
			return UPnP, true, nil
		}
		if q.err == nil {
			return 0, true, ErrSilent
		}
		return 0, true, q.err
	}
	return 0, false, nil
}
