// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"crypto/rand"
	"log/slog"
	"net/netip"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/seal"
	"github.com/seed-98f0d4c2/runnel/internal/wire"
	"github.com/seed-98f0d4c2/runnel/mobility"
)

const (
	punchSoon   = 300 * time.Millisecond // after which a session behind a hard NAT is not left to ICE alone
	punchLater  = time.Second            // any other
	maxPunching = 2                      // sessions of an endpoint that have sockets open or send probes at one time
	briefEvery  = 200 * time.Millisecond // between looks at what is known here, beside those that an attempt begins with

	// What all sessions together send to addresses that peers have named, whoever they are: two whole attempts, and then one in
	// 15 s.
	probeRate  = 100
	probeBurst = 3000
)

// A punch drives the machine that gets a session through hard NATs. It exists once the session has been relayed.
type punch struct {
	m       *mobility.Puncher
	socks   map[int]*extraSocket // by slot
	vias    map[int32]int        // slots, by via
	start   time.Time            // zero: not due
	txs     [][12]byte           // questions to STUN servers
	host    netip.Addr           // as the internet sees it
	seated  bool                 // counted in e.punching
	briefed time.Time            // when the machine was last told what is known here
}

// report says what has been tried against hard NATs, in a sentence; it is empty if nothing had to be.
func (p *punch) report() string {
	if p == nil {
		return ""
	}
	return p.m.Report()
}

// mayPunch says whether the session is one to get through hard NATs for.
func (s *Session) mayPunch() bool {
	return s.phase == phaseReady && s.addresses == Direct && !s.e.cfg.Policy.RelayOnly &&
		s.e.socketFor(netip.IPv4Unspecified()) != nil
}

// usePunch returns the session's punch, which is made when it is first needed.
func (s *Session) usePunch() *punch {
	if s.punch != nil {
		return s.punch
	}
	s.punch = &punch{
		m: mobility.NewPuncher(&mobility.PunchConfig{
			Rand:      func(b []byte) { _, _ = rand.Read(b) },
			Conductor: s.role == seal.Initiator,
			Usable:    s.e.usable,
			GoodRelay: s.e.cfg.Policy.GoodRelay,
		}),
		socks: make(map[int]*extraSocket),
		vias:  make(map[int32]int),
	}
	return s.punch
}

// brief tells the machine what is known here.
func (s *Session) brief(now time.Time) {
	p, v := s.punch, s.e.stun.nat()
	p.briefed = now
	if host := v.addr.Addr(); host.IsValid() && host != p.host {
		if p.host.IsValid() {
			p.m.HandleNetworkChange(now)
		}
		p.host = host
	}
	p.m.SetLocal(v.mapping, v.addr, v.servers)
	rtt, _ := s.mux.RTT()
	p.m.SetRTT(rtt)
}

// pollPunch begins when a session is relayed, ends when it is direct, and does what the machine asks for meanwhile.
func (s *Session) pollPunch(now time.Time) {
	p := s.punch
	if s.phase != phaseReady {
		return // what carries the session may be an extra socket
	}
	if !s.mayPunch() {
		s.closePunch()
		return
	}
	direct := s.mob.Current().Kind == mobility.Direct
	switch {
	case p == nil && direct:
		return
	case p == nil:
		p = s.usePunch()
		p.start = now.Add(punchLater)
		if v := s.e.stun.nat(); v.mapping == mobility.MappingDependent {
			p.start = now.Add(punchSoon)
		}
	case direct:
		p.m.HandleDirect(now)
		p.start = time.Time{}
	default:
		p.m.HandleRelayed(now)
	}
	if !p.start.IsZero() && !now.Before(p.start) {
		p.start = time.Time{}
		if s.seat() {
			s.brief(now)
			p.m.Start(now)
		} else {
			p.start = now.Add(punchLater)
		}
	}
	for {
		a, ok := p.m.Poll()
		if !ok {
			break
		}
		s.doPunch(now, a)
	}
	if p.seated && !p.m.Active() {
		p.seated = false
		s.e.punching.Add(-1)
		s.e.stun.forget(p.txs)
		p.txs = nil
	}
}

// seat takes one of the places of an endpoint's sessions that are at it at one time.
func (s *Session) seat() bool {
	if s.punch.seated {
		return true
	}
	if s.e.punching.Add(1) > maxPunching {
		s.e.punching.Add(-1)
		return false
	}
	s.punch.seated = true
	return true
}

// punchTimeouts lets the machine do what is due.
func (s *Session) punchTimeouts(now time.Time) {
	p := s.punch
	if p == nil {
		return
	}
	if at := p.m.NextTimeout(); at.IsZero() || now.Before(at) || !p.start.IsZero() && !p.m.Active() {
		return
	}
	if !p.m.Active() { // it is about to try again
		if !s.seat() {
			p.start = now.Add(punchLater)
			return
		}
		s.brief(now)
	}
	p.m.HandleTimeout(now)
}

// punchMoved is called when the network here may be another: what is known of its NAT may no longer hold, and STUN servers
// are about to be heard.
func (s *Session) punchMoved(now time.Time) {
	if s.punch != nil {
		s.punch.m.HandleNetworkChange(now)
		s.punch.start = now.Add(punchLater)
	}
}

// nextPunch returns when the loop must run for the sake of hard NATs.
func (s *Session) nextPunch() time.Time {
	if s.punch == nil || s.phase != phaseReady {
		return time.Time{}
	}
	if !s.punch.start.IsZero() && !s.punch.m.Active() {
		return s.punch.start
	}
	return s.punch.m.NextTimeout()
}

// handlePunch takes a PUNCH chunk.
func (s *Session) handlePunch(now time.Time, body []byte) error {
	m, err := wire.ParsePunch(body)
	if err != nil {
		return err
	}
	if !s.mayPunch() {
		return nil
	}
	if s.usePunch(); s.seat() {
		if now.Sub(s.punch.briefed) >= briefEvery {
			s.brief(now)
		}
		s.punch.m.HandlePeer(now, &m)
	}
	return nil
}

// handleHit tells the machine of an authentic packet that came by a way that the session does not use.
func (s *Session) handleHit(now time.Time, k mobility.Key) {
	if s.punch == nil || k.Via > 0 || !s.punch.m.Active() || k == s.mob.Current().Key || s.paths.isRelayed(k.Remote) {
		return
	}
	slot, ok := 0, true
	if k.Via < 0 {
		slot, ok = s.punch.vias[k.Via], s.punch.vias[k.Via] > 0
	}
	if ok {
		s.punch.m.HandleHit(now, slot, k.Remote)
	}
}

// doPunch does one thing that the machine asks for.
func (s *Session) doPunch(now time.Time, a mobility.PunchAction) {
	p := s.punch
	x := p.socks[a.Slot]
	if a.Slot != 0 && x == nil && a.Op != mobility.PunchOpen && a.Op != mobility.PunchDone && a.Op != mobility.PunchTell {
		return // it could not be opened
	}
	via := int32(0)
	if x != nil {
		via = x.via
	}
	switch a.Op {
	case mobility.PunchOpen:
		s.closeSlot(a.Slot)
		x, err := s.e.openExtra()
		if err != nil {
			s.log.Debug("no extra socket", slog.Any("err", err))
			p.m.HandleDistress(now, "no more sockets can be opened")
			return
		}
		p.socks[a.Slot], p.vias[x.via] = x, a.Slot
	case mobility.PunchClose:
		s.closeSlot(a.Slot)
	case mobility.PunchProbe:
		if !s.e.probes.AllowN(now, 1) {
			p.m.HandleDistress(now, "this endpoint has sent enough to addresses that others name")
			return
		}
		var data [wire.PathDataLen]byte
		_, _ = rand.Read(data[:]) // an answer to it proves nothing
		s.sendAlone(now, mobility.Key{Via: via, Remote: a.Addr}, wire.AppendPathChallenge(nil, data))
	case mobility.PunchAsk:
		s.askSTUN(a.Slot, x, a.Addr)
	case mobility.PunchTell:
		s.sendAlone(now, s.mob.Current().Key, wire.AppendPunch(nil, &a.Msg))
	case mobility.PunchTry:
		if x != nil {
			x.keep()
		}
		s.mob.HandleCandidate(now, mobility.Candidate{Key: mobility.Key{Via: via, Remote: a.Addr}})
	case mobility.PunchDone:
		s.notePunch(now, a.Why)
		s.log.Info("hard NATs", slog.String("why", a.Why))
	}
}

// askSTUN has a STUN server say how a socket looks from outside.
func (s *Session) askSTUN(slot int, x *extraSocket, server netip.AddrPort) {
	local, send := uint16(0), func(b []byte) error { return s.e.writeDirect(b, server) }
	if x != nil {
		local = s.e.localAddr(mobility.Key{Via: x.via}).Port()
		send = func(b []byte) error {
			_, err := x.write(b, len(b), server, wire.NotECT)
			return err
		}
	}
	s.punch.txs = append(s.punch.txs, s.e.stun.askOnce(server, send, func(mapped netip.AddrPort) {
		s.tell(func(now time.Time) {
			if s.punch != nil && s.punch.socks[slot] == x {
				s.punch.m.HandleMapped(now, slot, local, mapped)
			}
		})
	}))
}

func (s *Session) closeSlot(slot int) {
	if x := s.punch.socks[slot]; x != nil {
		delete(s.punch.socks, slot)
		delete(s.punch.vias, x.via)
		x.close()
		if s.mob != nil && s.phase <= phaseReady {
			s.mob.HandleViaLost(time.Now(), x.via)
		}
	}
}

// closePunch ends what is under way. Sockets that carry the session stay open unless it is over.
func (s *Session) closePunch() {
	p := s.punch
	if p == nil {
		return
	}
	s.e.stun.forget(p.txs)
	if p.seated {
		s.e.punching.Add(-1)
	}
	for slot := range p.socks {
		s.closeSlot(slot)
	}
	s.punch = nil
}
