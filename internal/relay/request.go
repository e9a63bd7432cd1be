// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/pionx/stunx"
)

const (
	permissionLife = 5 * time.Minute  // RFC 8656 §9
	channelLife    = 10 * time.Minute // RFC 8656 §12
	protoUDP       = 17
)

// request decides about an Allocate, Refresh, CreatePermission or ChannelBind request.
//
// Who has no valid credentials costs one token and at most one answer. The core produces the challenge, since it
// makes and checks the nonces: it is shown the bare header of the request, which it answers with 401 whatever the
// rest was. (Left to itself it answers wrong credentials with 400, and a request without allocation not at all.)
func (g *gate) request(m stunx.Method, b []byte, from netip.AddrPort, a *allocation) (int, bool) {
	tx := stunx.TransactionID(b)
	g.cur = request{tx: tx, client: from}
	now := time.Now()
	who, key, reason := authenticate(g.s.c.Secrets, g.s.c.Realm, b)
	if key != nil && m == stunx.Allocate && a == nil && !who.expires.After(now) {
		key, reason = nil, "expired"
	}
	if key == nil {
		return g.challenge(m, b, from, a, reason)
	}
	g.cur.who, g.cur.key = who, key
	refuse := func(code int) (int, bool) {
		if m == stunx.Allocate {
			g.s.metrics.allocate.WithLabelValues(codeLabel(code)).Inc()
		}
		return g.refuse(b, from, code, key, nil)
	}
	if unknown := unknownAttributes(b); len(unknown) > 0 {
		return g.refuse(b, from, 420, key, unknown)
	}
	if a == nil && m != stunx.Allocate && !g.givesBackEvicted(m, b, from, who) {
		return refuse(437) // RFC 8656 §5
	}
	if a != nil && a.who != who.id {
		return refuse(441) // RFC 8656 §5: the allocation is somebody else's
	}
	code := 0
	switch m {
	case stunx.Allocate:
		if a == nil { // else the core repeats its answer, or says 437
			code = g.mayAllocate(b, who)
		}
	case stunx.CreatePermission:
		code = g.mayPermit(b, tx, a, now)
	case stunx.ChannelBind:
		code = g.mayBind(b, tx, a, now)
	}
	if code != 0 {
		return refuse(code)
	}
	if g.cur.even {
		return g.hideEvenPort(b), true
	}
	return len(b), true
}

// hideEvenPort removes EVEN-PORT from an Allocate request and signs it again. The core's way with it is to open and
// close sockets until one is even, and to promise a reservation that it then forgets; our pool simply has even ports.
func (g *gate) hideEvenPort(b []byte) int {
	m := stunx.NewBuilder(make([]byte, 0, len(b)), stunx.Allocate, stunx.Request, g.cur.tx)
	for t, v := range stunx.Attributes(b) {
		switch t {
		case stunx.EvenPort, stunx.MessageIntegrity, stunx.Fingerprint:
		default:
			m.Add(t, v)
		}
	}
	return copy(b, m.AddIntegrity(g.cur.key).Bytes())
}

// challenge deals with a request without valid credentials.
func (g *gate) challenge(m stunx.Method, b []byte, from netip.AddrPort, a *allocation, reason string) (int, bool) {
	if _, signed := stunx.Get(b, stunx.MessageIntegrity); signed {
		g.s.metrics.authFailed.WithLabelValues(reason).Inc()
	}
	if !g.mayAnswer(from.Addr()) {
		g.s.metrics.suppressed.Inc()
		return 0, false
	}
	g.s.metrics.challenges.Inc()
	if a == nil && m != stunx.Allocate {
		return g.refuse(b, from, 437, nil, nil)
	}
	if _, ok := stunx.Get(b, stunx.RequestedTransport); m == stunx.Allocate && !ok {
		// No client sends this; reflectors do, because a bare header gets the largest answer for its size.
		return g.refuse(b, from, 400, nil, nil)
	}
	binary.BigEndian.PutUint16(b[2:], 0)
	return stunx.HeaderSize, true
}

// mayAllocate returns the error code that an Allocate request deserves, or 0.
func (g *gate) mayAllocate(b []byte, who identity) int {
	t, ok := stunx.Get(b, stunx.RequestedTransport)
	switch {
	case !ok || len(t) != 4:
		return 400
	case t[0] != protoUDP:
		return 442
	}
	if f, ok := stunx.Get(b, stunx.RequestedAddressFamily); ok && (len(f) != 4 || f[0] != 1) {
		return 440
	}
	even, ok := stunx.Get(b, stunx.EvenPort)
	_, token := stunx.Get(b, stunx.ReservationToken)
	if token || ok && (len(even) != 1 || even[0]&0x80 != 0) { // ports are not reserved (RFC 8656 §7.2)
		return 508
	}
	g.cur.even = ok
	if g.s.draining.Load() {
		return 508
	}
	code := g.s.quota.full(who.id)
	if code == 486 && g.s.evict(who.id) {
		code = 0
	}
	return code
}

// mayPermit judges all peers of a CreatePermission request before the core sees the first.
func (g *gate) mayPermit(b []byte, tx [12]byte, a *allocation, now time.Time) int {
	var peers []netip.Addr
	for t, v := range stunx.Attributes(b) {
		if t != stunx.XORPeerAddress {
			continue
		}
		ap, _ := stunx.XORAddr(v, tx)
		if code := g.verdict(g.s.judge(ap.Addr())); code != 0 {
			return code
		}
		peers = append(peers, ap.Addr().Unmap())
	}
	switch {
	case len(peers) == 0:
		return 400
	case !a.roomFor(peers, now):
		return 508
	}
	g.cur.commit = func() { a.permit(peers, now) }
	return 0
}

// mayBind judges a ChannelBind request.
func (g *gate) mayBind(b []byte, tx [12]byte, a *allocation, now time.Time) int {
	n, ok := stunx.Get(b, stunx.ChannelNumber)
	v, ok2 := stunx.Get(b, stunx.XORPeerAddress)
	peer, ok3 := stunx.XORAddr(v, tx)
	if !ok || !ok2 || !ok3 || len(n) != 4 || n[0]>>6 != 1 {
		// RFC 8656 §12 ends the range at 0x4FFF, but clients of RFC 5766 §11 go up to 0x7FFF.
		return 400
	}
	peer = netip.AddrPortFrom(peer.Addr().Unmap(), peer.Port())
	reason := g.s.judge(peer.Addr())
	if reason == Allowed && peer.Addr() == g.s.c.RelayIP && !g.s.ports.contains(peer.Port()) {
		reason = g.s.judgePort(peer)
	}
	if code := g.verdict(reason); code != 0 {
		return code
	}
	number := binary.BigEndian.Uint16(n)
	if !a.roomFor([]netip.Addr{peer.Addr()}, now) || !a.roomForChannel(number, now) {
		return 508
	}
	g.cur.commit = func() {
		a.permit([]netip.Addr{peer.Addr()}, now)
		a.bind(number, now)
	}
	return 0
}

// verdict turns a reason into an error code and counts it.
func (g *gate) verdict(r Reason) int {
	if r == Allowed {
		return 0
	}
	g.s.metrics.denied.WithLabelValues(string(r)).Inc()
	if r == BadFamily {
		return 443
	}
	return 403
}

// unknownAttributes returns, in the form of the UNKNOWN-ATTRIBUTES attribute, the attributes of b that must be
// understood and are not (RFC 8489 §6.3.1).
func unknownAttributes(b []byte) (out []byte) {
	for t := range stunx.Attributes(b) {
		switch t {
		case stunx.UsernameAttr, stunx.MessageIntegrity, stunx.Realm, stunx.Nonce, stunx.ErrorCode,
			stunx.UnknownAttributes, stunx.MappedAddress, stunx.XORMappedAddress, stunx.ChannelNumber,
			stunx.Lifetime, stunx.XORPeerAddress, stunx.DataAttr, stunx.XORRelayedAddress,
			stunx.RequestedAddressFamily, stunx.EvenPort, stunx.RequestedTransport, stunx.ReservationToken,
			0x0024, 0x0025: // PRIORITY and USE-CANDIDATE: somebody checks connectivity to us, which is harmless
		default:
			if t < 0x8000 {
				out = binary.BigEndian.AppendUint16(out, uint16(t))
			}
		}
	}
	return out
}

// codeLabel keeps the label of a metric to the codes this server can produce.
func codeLabel(code int) string {
	switch code {
	case 400, 403, 420, 437, 438, 440, 441, 442, 443, 486, 508:
		return strconv.Itoa(code)
	}
	return "other"
}
