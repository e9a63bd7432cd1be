// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"log/slog"
	"slices"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/pace"
	"github.com/seed-98f0d4c2/runnel/internal/udp"
	"github.com/seed-98f0d4c2/runnel/internal/wire"
	"github.com/seed-98f0d4c2/runnel/mobility"
	"github.com/seed-98f0d4c2/runnel/signaling"
)

const (
	announceMin = 100 * time.Millisecond // before addresses are told again, doubling
	announceMax = 2 * time.Second
	moveEvery   = time.Second // between messages by signaling, beyond a burst of moveBurst
	moveBurst   = 6
	moveGather  = 5 * time.Millisecond   // what is found out right after the first is said in one more
	moveAgain   = 10 * time.Second       // in an outage
	listEvery   = 250 * time.Millisecond // between lists of the peer's that take effect, beyond a burst of listBurst
	listBurst   = 8
	unsettled   = 10 * time.Second // after a change of the network more changes are likely, and as urgent
)

// announcer is what the two ends of an established session have told each other of where they are: in ADDRESSES chunks,
// and by signaling when paths may be dead. The list with the highest number counts, whichever way it came.
type announcer struct {
	told  []signaling.Candidate // what the peer has been told of us
	seq   uint64                // its number; zero: offer, answer and candidates told it
	heard uint64                // the number of the peer's list; zero likewise

	list   []signaling.Candidate // the peer's, if it has yet to take effect
	listAt time.Time             // when it does; zero: there is none
	lists  pace.Pace             // of those that take effect

	wide  bool          // tell by all paths: the current one may be dead
	again time.Time     // when to tell again; zero: the peer knows
	wait  time.Duration // until then
	last  time.Time     // when it was told last

	uprooted bool      // the ground has moved, and nothing has come by the current path since
	movedAt  time.Time // when the ground last moved, or was last found to carry nothing
	signalAt time.Time // when to say it by signaling; zero: not
	unless   time.Time // but not if the peer has been heard since; zero: in any case
	signals  pace.Pace // of messages
	sentSeq  uint64    // which list the last message told
	sentAt   time.Time // and when
}

func (a *announcer) next() time.Time { return earliest(earliest(a.again, a.signalAt), a.listAt) }

// localChanged is called when the ground has moved: the addresses of this host have changed, or it has slept, or the
// network is back.
func (s *Session) localChanged(now time.Time, why string) {
	s.relearnLAN(now)
	if s.mob != nil && s.phase <= phaseClosing {
		s.mob.HandleLocalChange(now, why)
	}
	if s.phase != phaseReady {
		s.candidatesChanged(now)
		return
	}
	s.punchMoved(now)
	s.announce(now, true)
}

// announce tells the peer where this endpoint may be reached, unless it knows. urgent says that the paths may be dead:
// then it is told by all of them, again if need be, and by signaling.
func (s *Session) announce(now time.Time, urgent bool) {
	a := &s.moves
	list := s.e.localCandidates(s.tells)
	same := sameCandidates(list, a.told)
	if urgent {
		a.movedAt = now
		a.uprooted = a.uprooted || !same
	} else if same {
		return
	}
	urgent = urgent || s.mob.Outage() || !a.movedAt.IsZero() && now.Sub(a.movedAt) < unsettled
	a.told = slices.Clip(list)
	a.seq++
	a.wide, a.again, a.wait = urgent, now, announceMin
	switch {
	case !urgent:
	case same && !s.mob.Outage(): // the peer needs no news, and the path may be well
		a.signalAt, a.unless = now.Add(max(2*s.mux.PTO(), announceMin)), now
	case now.Sub(a.sentAt) < moveEvery:
		a.signalAt, a.unless = earliest(a.signalAt, now.Add(moveGather)), time.Time{}
	default:
		a.signalAt, a.unless = now, time.Time{}
	}
	s.mob.HandleCandidates(now, s.ways()) // what the peer now tries, open the way for
}

// sendAddresses sends the chunk when it is due. It reports whether the peer is to be asked for a sign of life: by the
// packet that does, it follows us to a new address, but not by what only tries a path.
func (s *Session) sendAddresses(now time.Time) (ping bool) {
	a := &s.moves
	if s.phase != phaseReady {
		return false
	}
	if !a.listAt.IsZero() && !now.Before(a.listAt) {
		s.takeIn(now)
	}
	if !a.signalAt.IsZero() && !now.Before(a.signalAt) {
		s.signalMove(now)
	}
	if a.again.IsZero() || now.Before(a.again) {
		return false
	}
	var list [signaling.MaxCandidates]wire.Address
	n := 0
	for _, c := range a.told[:min(len(a.told), len(list))] {
		list[n] = wire.Address{Kind: wireKind(c.Kind), Addr: c.Addr}
		n++
	}
	buf := udp.GetBuffer(udp.BufferSize)
	defer buf.Release()
	chunk := wire.AppendAddresses(buf.Bytes()[:0], a.seq, list[:n])
	s.sendNoted(now, s.mob.Current().Key, chunk, true)
	if a.wide {
		for _, p := range s.mob.Paths() {
			if !p.Current && p.Validated {
				s.sendNoted(now, p.Key, chunk, false)
			}
		}
	}
	a.again, a.last = now.Add(max(a.wait, s.mux.PTO())), now
	a.wait = min(2*a.wait, announceMax)
	return a.wide
}

// noted is called when the peer has acknowledged an ADDRESSES chunk.
func (s *Session) noted(seq uint64) {
	if a := &s.moves; seq == a.seq {
		a.again = time.Time{}
	}
}

// sendNoted sends a packet with one chunk by k and has s.noted called when it is acknowledged. Only by the current path
// is its loss a sign of congestion.
func (s *Session) sendNoted(now time.Time, k mobility.Key, chunk []byte, current bool) {
	size := wire.MaxHeaderLen + len(s.proof) + len(chunk) + s.keys.Overhead()
	if s.mob.Budget(k) < size {
		return
	}
	buf := udp.GetBuffer(udp.BufferSize)
	defer buf.Release()
	pn := s.nextPN()
	b := s.appendHeader(buf.Bytes()[:0], pn)
	hdr := len(b)
	if current && s.proofDue() {
		b = append(b, s.proof...)
	}
	b = append(b, chunk...)
	mark := s.mux.ECN()
	if pkt := s.seal(b, hdr, pn); pkt != nil {
		s.mux.SentNote(now, pn, len(pkt), current, s.moves.seq)
		s.write(k, pkt, len(pkt), mark)
		s.mob.HandleSent(now, k, len(pkt))
	}
}

// signalMove tells the peer by signaling, in case no path carries it, but not faster than the signaling plane likes.
func (s *Session) signalMove(now time.Time) {
	a := &s.moves
	a.signalAt = time.Time{}
	alive := !a.unless.IsZero() && s.lastHeard.After(a.unless) && !s.mob.Outage()
	if s.e.cfg.Signaler == nil || a.again.IsZero() || alive {
		return // the peer knows, or will soon
	}
	if at := a.signals.Due(now, moveEvery, moveBurst); at.After(now) {
		a.signalAt = at
		return
	}
	a.signals.Take(now, moveEvery)
	a.sentSeq, a.sentAt = a.seq, now
	if s.mob.Outage() { // that one, or the answer, may be lost
		a.signalAt, a.unless = now.Add(moveAgain), time.Time{}
	}
	m := &signaling.Message{
		Kind: signaling.KindMove, Attempt: s.attempt, Time: s.e.stamp(now),
		Session: s.local, PeerSession: s.remote, Seq: a.seq, Candidates: a.told,
	}
	s.log.Debug("move signaled", slog.Uint64("seq", a.seq))
	payload, err := signaling.Seal(s.e.cfg.Key, s.id, m)
	if err != nil {
		s.log.Error("move not sealed", slog.Any("err", err))
		return
	}
	s.outbox = slices.DeleteFunc(s.outbox, func(o outgoing) bool { return o.kind == signaling.KindMove })
	s.signal(outgoing{payload, signaling.KindMove})
}
