// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"crypto/rand"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/seed-98f0d4c2/runnel/flow"
	"github.com/seed-98f0d4c2/runnel/internal/seal"
	"github.com/seed-98f0d4c2/runnel/internal/wire"
	"github.com/seed-98f0d4c2/runnel/mobility"
	"github.com/seed-98f0d4c2/runnel/signaling"
)

// remotePaths is what a session knows of where its peer may be.
type remotePaths struct {
	remote    []signaling.Candidate // as the peer says
	permitted []netip.Addr          // let in at our relays on this session's behalf
}

// maxPermitted bounds the addresses of one peer that are let in at our relays, which allow a few hundred in all: one
// as the internet sees it, one for each of two relays.
const maxPermitted = 3

// lostAfter is how long at least nothing must have come by a path that the session leaves, for what was sent there to be
// sent again at once.
const lostAfter = 50 * time.Millisecond

// permitRemote lets the peer's addresses in at our relays, and none that it no longer has.
func (s *Session) permitRemote() {
	if s.addresses == LANOnly {
		return // the peer is not reached through a relay
	}
	var want []netip.Addr
	add := func(ip netip.Addr) {
		if ip.Is4() && !slices.Contains(want, ip) && len(want) < maxPermitted && (len(want) == 0 || !ip.IsPrivate()) {
			want = append(want, ip)
		}
	}
	if s.mob != nil { // whatever the peer says, it is there now
		if k := s.mob.Current().Key; k.Via > 0 {
			add(k.Remote.Addr())
		}
	}
	for _, kind := range []string{signaling.CandidateRelay, signaling.CandidateSrflx, signaling.CandidateHost} { // most needed first: there is not room for many
		for _, c := range s.paths.remote {
			if c.Kind == kind {
				add(c.Addr.Addr())
			}
		}
	}
	old := s.paths.permitted
	s.paths.permitted = slices.DeleteFunc(want, func(ip netip.Addr) bool {
		return !slices.Contains(old, ip) && !s.e.relays.permit(s.id, ip)
	})
	for _, ip := range old {
		if !slices.Contains(s.paths.permitted, ip) {
			s.e.relays.forbid(s.id, ip)
		}
	}
}

// symmetric says whether the peer's NAT gives it another port for each of those it sends to.
func (p *remotePaths) symmetric() bool {
	var seen netip.AddrPort
	for _, c := range p.remote {
		if c.Kind != signaling.CandidateSrflx {
			continue
		}
		if seen.IsValid() && seen.Addr() == c.Addr.Addr() {
			return true
		}
		seen = c.Addr
	}
	return false
}

// abandoned says whether the peer, which tells a new list, no longer is where we send: it has told of that address
// before, or is on another network altogether.
func (p *remotePaths) abandoned(addr netip.AddrPort, list []signaling.Candidate) bool {
	had, has, left := false, false, false
	for _, c := range p.remote {
		had = had || c.Addr == addr
		if c.Kind == signaling.CandidateHost {
			left = true
		}
	}
	for _, c := range list {
		has = has || c.Addr == addr
	}
	for _, c := range p.remote {
		if c.Kind == signaling.CandidateHost && slices.Contains(list, c) {
			left = false
		}
	}
	return !has && (had || left)
}

func (p *remotePaths) isRelayed(a netip.AddrPort) bool {
	return slices.Contains(p.remote, signaling.Candidate{Kind: signaling.CandidateRelay, Addr: a})
}

func (s *Session) forgetPaths() {
	for _, ip := range s.paths.permitted {
		s.e.relays.forbid(s.id, ip)
	}
	s.paths = remotePaths{}
}

// kindOf says whether packets that come by via from an address are relayed: by our relay or by the peer's.
func (s *Session) kindOf(via int32, from netip.AddrPort) mobility.Kind {
	if via > 0 || s.paths.isRelayed(from) {
		return mobility.Relayed
	}
	return mobility.Direct
}

// startPaths starts the path machine on the way that the handshake took, and tells it of the others.
func (s *Session) startPaths(now time.Time, at *setup) {
	s.mob = mobility.New(now, at.path, &mobility.Config{
		Policy:    s.pathPolicy(),
		Unproven:  at.in, // the peer has answered from there, but may have heard us elsewhere
		Keepalive: s.e.cfg.KeepAlive,
		Second:    s.role == seal.Responder,
		Rand:      func(b []byte) { _, _ = rand.Read(b) },
	})
	s.mob.HandleSent(now, at.path.Key, at.out)
	s.mux.ResetPath(now, s.pathInfo(s.mob.Current()))
	for _, t := range at.targets {
		if t.Key != at.path.Key && (t.Kind == mobility.Relayed || at.checked || at.agent == nil) {
			s.mob.HandleCandidate(now, t.Candidate)
		}
	}
}

// pathInfo is what is known of a path before it is used. A relay adds to every packet what the path may not have room
// for, and cannot say how much that is in all: nothing larger is tried there.
func (s *Session) pathInfo(p mobility.Path) flow.PathInfo {
	info := flow.PathInfo{RTT: p.RTT}
	if sock := s.e.socketFor(p.Key.Remote.Addr()); sock != nil && p.Kind == mobility.Direct {
		info.MaxPacket = sock.conn.MaxPayload(p.Key.Remote.Addr())
	}
	return info
}

// pathKey names the way that a packet came by. A way that leads to the peer's relay is introduced as relayed
// before the path machine meets it, which would take it for a direct one.
func (s *Session) pathKey(now time.Time, via int32, from netip.AddrPort) mobility.Key {
	k := mobility.Key{Via: via, Remote: from}
	if via == 0 && s.mob.Budget(k) == 0 && s.paths.isRelayed(from) {
		s.mob.HandleCandidate(now, mobility.Candidate{Key: k, Kind: mobility.Relayed})
	}
	return k
}

// viaLost takes note that a relay allocation is gone.
func (s *Session) viaLost(now time.Time, via int32) {
	if s.mob != nil && s.phase <= phaseReady {
		s.mob.HandleViaLost(now, via)
	}
}

// pollPaths does what the path machine asks for. It reports whether the peer is to be asked for a sign of life.
func (s *Session) pollPaths(now time.Time) (ping bool) {
	for {
		a, ok := s.mob.Poll(now)
		if !ok {
			return ping
		}
		switch a.Op {
		case mobility.Challenge:
			s.sendAlone(now, a.Path.Key, wire.AppendPathChallenge(nil, a.Data))
			if a.Path.Current && s.mob.InDoubt() && !s.mob.Outage() { // in an outage there is polling
				s.e.stun.glance(now)
				s.e.relays.glance(now)
			}
		case mobility.Response:
			s.sendAlone(now, a.Path.Key, wire.AppendPathResponse(nil, a.Data))
		case mobility.Ping:
			ping = true
		case mobility.Switch:
			s.switchPath(now, a)
		case mobility.Degraded:
			s.log.Info("path degraded", slog.String("kind", a.Path.Kind.String()), slog.Any("addr", a.Path.Remote),
				slog.String("why", a.Why))
			s.events.put(Degraded{Path: s.pathOf(a.Path), Why: a.Why})
		case mobility.Dead:
			s.stall(now, a)
			s.startSeek(now)
		case mobility.Alive:
			info := s.pathInfo(s.mob.Current()) // what it carries may have changed
			info.Lost = true
			s.mux.ResetPath(now, info)
			s.resume(now)
		}
	}
}

// regrounded is called for the packet that comes by k, the first ones after the ground has moved. If the current path has
// brought nothing for a while and goes on now, it is another one as far as our side of it goes (RFC 9000 §9.4), and what was
// sent meanwhile has been lost.
func (s *Session) regrounded(now time.Time, k mobility.Key) {
	cur := s.mob.Current()
	if k != cur.Key {
		return
	}
	s.moves.uprooted = false
	if s.phase == phaseReady && !s.mob.Outage() && now.Sub(cur.LastReceived) > max(cur.RTT, lostAfter) {
		info := s.pathInfo(cur)
		info.Lost = true
		s.mux.ResetPath(now, info)
	}
}

// switchPath is called when packets are to travel another way from now on.
func (s *Session) switchPath(now time.Time, a mobility.Action) {
	to := s.mob.Current()
	s.log.Info("path changed", slog.String("from", a.From.Kind.String()), slog.Any("from_addr", a.From.Remote),
		slog.String("to", to.Kind.String()), slog.Any("to_addr", to.Remote), slog.String("why", a.Why))
	info := s.pathInfo(to)
	info.Lost = now.Sub(a.From.LastReceived) > max(info.RTT, lostAfter)
	s.mux.ResetPath(now, info)
	s.moves.uprooted = false
	s.counts.pathChanges++
	s.permitRemote()
	from, dest := s.pathOf(a.From), s.pathOf(to)
	changed := PathChanged{From: from, To: dest, Why: a.Why}
	if !a.From.LastReceived.IsZero() {
		changed.Gap = now.Sub(a.From.LastReceived)
	}
	s.events.put(changed)
	if f := s.trace.PathSwitched; f != nil {
		f(PathSwitched{now, from, dest, a.Why})
	}
	s.resume(now)
	if to.Kind == mobility.Direct && s.phase == phaseReady {
		s.endSetupSoon()
	}
}
