// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package recovery

import (
	"slices"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// A modelPacket is what the test believes of a packet.
type modelPacket struct {
	size                  int
	eliciting             bool
	path                  int
	acked, lost, repeated int
}

// A model follows a tracker by the fates that it tells.
type model struct {
	*Tracker[uint64]
	t       *testing.T
	now     time.Time
	pn      uint64
	path    int
	packets map[uint64]*modelPacket
	skipped skips // all of them

	inFlight, outstanding int // of packets that are neither acknowledged nor lost
}

func newModel(t *testing.T) *model {
	m := &model{t: t, now: epoch, packets: map[uint64]*modelPacket{}}
	m.Tracker = New(Config[uint64]{Fate: m.fated})
	return m
}

// fated checks that fates come in their order.
func (m *model) fated(pn uint64, items []uint64, fate Fate) {
	p := m.packets[pn]
	if p == nil || len(items) != 1 || items[0] != pn {
		m.t.Fatalf("fate %d of packet %d with items %v, which was not sent so", fate, pn, items)
	}
	if fate != Repeat && p.eliciting && p.acked == 0 && p.lost == 0 {
		m.outstanding--
		if p.path == m.path {
			m.inFlight -= p.size
		}
	}
	switch fate {
	case Acked:
		p.acked++
	case Lost, LostRepeated:
		if p.lost++; (fate == LostRepeated) != (p.repeated > 0) || p.acked > 0 {
			m.t.Fatalf("packet %d: fate %d after %+v", pn, fate, *p)
		}
	case Repeat:
		if p.repeated++; p.lost > 0 || p.acked > 0 {
			m.t.Fatalf("packet %d: to be repeated after %+v", pn, *p)
		}
	}
	if p.acked > 1 || p.lost > 1 || p.repeated > 1 {
		m.t.Fatalf("packet %d: fate %d told twice: %+v", pn, fate, *p)
	}
}

// check compares the tracker with what it has told.
func (m *model) check() {
	if m.InFlight() != m.inFlight || m.Outstanding() != m.outstanding {
		m.t.Fatalf("%d bytes, %d packets in flight; told so far: %d, %d", m.InFlight(), m.Outstanding(), m.inFlight, m.outstanding)
	}
	if m.lost.n > maxLost || m.Tracked() > MaxTracked || m.MaxPacket() < wire.DefaultDatagram || m.Window() <= 0 {
		m.t.Fatalf("%d lost and %d packets remembered, packets of %d, window %d", m.lost.n, m.Tracked(), m.MaxPacket(), m.Window())
	}
	if s, least := m.RTT(); s <= 0 || least < 0 || m.PTO() <= 0 {
		m.t.Fatalf("round-trip time %v, least %v", s, least)
	}
}

// settle lets timers expire until none is due.
func (m *model) settle() {
	for n := 0; ; n++ {
		at := m.NextTimeout()
		if at.IsZero() || at.After(m.now) {
			return
		}
		if n > 10 {
			m.t.Fatalf("the timeout at %v, now %v, never goes away", at.Sub(epoch), m.now.Sub(epoch))
		}
		m.HandleTimeout(m.now)
	}
}

// around returns an acknowledgement without the numbers that were skipped.
func (m *model) around(a wire.Ack) wire.Ack {
	var ranges []wire.AckRange
	for _, r := range a.Ranges {
		for _, s := range slices.Backward(m.skipped) {
			if s.End < r.End && s.End > r.Start {
				ranges = append(ranges, wire.AckRange{Start: s.End, End: r.End})
			}
			if s.Start < r.End && s.End > r.Start {
				r.End = s.Start
			}
		}
		if r.Start < r.End {
			ranges = append(ranges, r)
		}
	}
	a.Ranges = ranges
	return a
}

// ack handles an acknowledgement, which must be refused if it names a number that was skipped of late.
func (m *model) ack(a wire.Ack) {
	latest := m.skipped[max(0, len(m.skipped)-maxSkipped):]
	if err := m.HandleAck(m.now, &a); (err != nil) != latest.in(&a) {
		m.t.Fatalf("ack of %v where %v were skipped: %v", a.Ranges, m.skipped, err)
	} else if err == nil {
		return
	}
	if a = m.around(a); len(a.Ranges) > 0 {
		if err := m.HandleAck(m.now, &a); err != nil {
			m.t.Fatalf("ack of %v where %v were skipped: %v", a.Ranges, m.skipped, err)
		}
	}
}

// number returns the number for the next packet.
func (m *model) number() uint64 {
	if start := m.Tracker.next; m.pn > start {
		m.skipped = append(m.skipped, wire.AckRange{Start: start, End: m.pn})
	}
	m.pn++
	return m.pn - 1
}

func (m *model) send(size int, eliciting bool) {
	pn := m.number()
	m.packets[pn] = &modelPacket{size: size, eliciting: eliciting, path: m.path}
	if eliciting {
		m.outstanding++
		m.inFlight += size
	}
	m.Sent(m.now, pn, size, eliciting, []uint64{pn})
}

// FuzzRecovery drives a tracker with arbitrary operations: each packet's fate must be told once and in order, what is in
// flight must be the sum of what has no fate, timers must come to rest and memory must be bounded.
func FuzzRecovery(f *testing.F) {
	f.Add([]byte{0, 10, 6, 20, 2, 3, 1, 4, 5, 0, 7, 0})
	f.Add([]byte{0, 200, 6, 100, 2, 0, 200, 2, 10, 3, 6, 255, 5, 0, 5, 0, 0, 3, 2, 0, 255})
	f.Add([]byte{7, 9, 0, 50, 6, 9, 2, 0, 9, 8, 0, 0, 20, 6, 9, 2, 0, 30, 8, 8, 1, 20, 6, 250, 5, 5})
	f.Fuzz(func(t *testing.T, ops []byte) {
		m := newModel(t)
		next := func() int {
			if len(ops) == 0 {
				return 0
			}
			op := ops[0]
			ops = ops[1:]
			return int(op)
		}
		for n := 0; len(ops) > 0 && n < 500; n++ {
			switch next() % 10 {
			case 0:
				for range next() {
					m.send(1200, true)
				}
			case 1:
				m.send(40+next()*8, next()%2 == 0)
			case 2, 3: // an acknowledgement of up to four ranges, the newest first
				if m.Tracker.next == 0 {
					continue
				}
				a := wire.Ack{Delay: time.Duration(next()) * ms}
				if a.HasECN = next()%2 == 0; a.HasECN {
					a.ECN = wire.ECNCounts{ECT0: uint64(next()), CE: uint64(next() / 16)}
				}
				end := m.Tracker.next - min(uint64(next()%32), m.Tracker.next-1)
				for range next()%4 + 1 {
					start := end - min(uint64(next())+1, end)
					a.Ranges = append(a.Ranges, wire.AckRange{Start: start, End: end})
					gap := uint64(next()%16) + 1
					if start <= gap {
						break
					}
					end = start - gap
				}
				m.ack(a)
			case 4:
				m.pn += uint64(next())
			case 5:
				if at := m.NextTimeout(); at.After(m.now) {
					m.now = at
				}
				m.settle()
			case 6:
				m.now = m.now.Add(time.Duration(next()*next()) * 100 * time.Microsecond)
			case 7:
				m.path++
				m.inFlight = 0
				m.ResetPath(m.now, Info{MaxPacket: next() * 64, RTT: time.Duration(next()) * ms})
			case 8:
				if size := m.MTUProbe(m.now); size > 0 {
					if size <= m.MaxPacket() {
						t.Fatalf("probe of %d bytes where %d are known to pass", size, m.MaxPacket())
					}
					m.SentProbe(m.now, m.number(), size)
				}
			case 9:
				if ok, at := m.CanSend(m.now); !at.IsZero() && (ok || !at.After(m.now)) {
					t.Fatalf("may send: %v, else at %v, now %v", ok, at.Sub(epoch), m.now.Sub(epoch))
				}
				m.NothingToSend()
			}
			m.check()
		}
		m.Close()
		if m.InFlight() != 0 || m.Outstanding() != 0 || !m.NextTimeout().IsZero() {
			t.Fatalf("after Close: %d bytes, %d packets in flight, timeout %v", m.InFlight(), m.Outstanding(), m.NextTimeout())
		}
	})
}
