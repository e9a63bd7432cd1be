// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package recovery

import (
	"testing"
	"time"
	"unsafe"

	"github.com/seed-98f0d4c2/runnel/internal/congestion"
	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// A bulky item is as large as those of package flow.
type bulky [64]byte

// held returns how many bytes of memory a tracker keeps in tables.
func held(t *Tracker[bulky]) int {
	n := cap(t.sent.slots)*int(unsafe.Sizeof(packet[bulky]{})) + cap(t.lost.slots)*int(unsafe.Sizeof(lostPacket[bulky]{}))
	items := 0
	for i := range t.sent.slots {
		items += cap(t.sent.slots[i].items)
	}
	for i := range t.lost.slots {
		items += cap(t.lost.slots[i].items)
	}
	for _, s := range t.spare.lists {
		items += cap(s)
	}
	return n + items*int(unsafe.Sizeof(bulky{}))
}

// A bulkySender sends packets with n items each, as package flow does.
type bulkySender struct {
	*Tracker[bulky]
	items []bulky
}

func (s *bulkySender) send(now time.Time, pn uint64, size int, eliciting bool, n int) {
	for range n {
		s.items = append(s.items, bulky{})
	}
	s.items = s.Sent(now, pn, size, eliciting, s.items)
}

// wide is a controller with a large window and no pace.
type wide struct{ congestion.Controller }

func (*wide) Window() int         { return 16 << 20 }
func (*wide) PacingRate() float64 { return 1e12 }

func ackRange(start, end uint64) *wire.Ack {
	return &wire.Ack{Ranges: []wire.AckRange{{Start: start, End: end}}}
}

// TestAcknowledgementsThatNobodyAcknowledges sends acknowledgements while the peer leaves one older packet open for ever.
func TestAcknowledgementsThatNobodyAcknowledges(t *testing.T) {
	s := bulkySender{Tracker: New(Config[bulky]{})}
	s.send(epoch, 0, 100, true, 1)
	for pn := uint64(1); pn < 1<<18; pn++ {
		s.send(epoch, pn, 60, pn%10_000 == 0, 1)
	}
	if got, most := held(s.Tracker), 512<<10; got > most || s.Outstanding() != 27 {
		t.Errorf("%d bytes held of %d packets outstanding, want at most %d of 27", got, s.Outstanding(), most)
	}
	// What is remembered is still of use.
	if err := s.HandleAck(epoch.Add(50*time.Millisecond), ackRange(0, 1)); err != nil {
		t.Fatal(err)
	}
	if rtt, _ := s.RTT(); rtt != 50*time.Millisecond || s.Outstanding() != 26 {
		t.Errorf("round trip %v, %d outstanding; want 50ms and 26", rtt, s.Outstanding())
	}
}

// TestPlacesDoNotKeepLongLists sends packets that say much, through all the places there are.
func TestPlacesDoNotKeepLongLists(t *testing.T) {
	s := bulkySender{Tracker: New(Config[bulky]{})}
	now, pn := epoch, uint64(0)
	for range 64 {
		start := pn
		for k := range 4096 {
			n := 1
			if k%64 == int(start/4096) {
				n = 200
			}
			s.send(now, pn, 1200, true, n)
			pn++
		}
		now = now.Add(20 * time.Millisecond)
		if err := s.HandleAck(now, ackRange(start, pn)); err != nil {
			t.Fatal(err)
		}
	}
	if got, most := held(s.Tracker), 2<<20; got > most {
		t.Errorf("%d bytes held with nothing in flight, want at most %d", got, most)
	}
	// After a pause the rest goes too, though one packet stays open.
	s.send(now, pn, 1200, true, 1)
	s.send(now.Add(2*time.Second), pn+1, 1200, true, 1)
	if got, most := held(s.Tracker), 64<<10; got > most {
		t.Errorf("%d bytes held after a pause, want at most %d", got, most)
	}
}

// TestLostPacketsThatSaidMuch loses packets that say much.
func TestLostPacketsThatSaidMuch(t *testing.T) {
	s := bulkySender{Tracker: New(Config[bulky]{})}
	now, pn := epoch, uint64(0)
	for range 2 {
		for range 1000 {
			s.send(now, pn, 1200, true, 200)
			pn++
		}
		now = now.Add(20 * time.Millisecond)
		if err := s.HandleAck(now, ackRange(pn-1, pn)); err != nil {
			t.Fatal(err)
		}
	}
	// 2000 packets with 200 items of 64 bytes are 25 MB.
	if got, most := held(s.Tracker), 4<<20; got > most || s.Outstanding() != 2 {
		t.Errorf("%d bytes held, %d outstanding; want at most %d, and 2 that may yet arrive", got, s.Outstanding(), most)
	}
}

// widest is one with the largest window there is.
type widest struct{ wide }

func (*widest) Window() int { return 128 << 20 }

// TestAllRememberedOutstanding sends small packets through the largest window: they wait rather than push others out.
func TestAllRememberedOutstanding(t *testing.T) {
	s := bulkySender{Tracker: New(Config[bulky]{Controller: func(n int) congestion.Controller { return &widest{wide{congestion.NewReno(n)}} }})}
	now, pn := epoch, uint64(0)
	for ; pn < 2*MaxTracked; pn++ {
		if ok, next := s.CanSend(now); !ok {
			if next.IsZero() {
				break
			}
			now = next
		}
		s.send(now, pn, 60, true, 1)
	}
	if pn != MaxTracked || s.Outstanding() != MaxTracked {
		t.Errorf("%d packets sent, %d of them outstanding, want %d", pn, s.Outstanding(), MaxTracked)
	}
}

// TestSmallPacketsOutstanding sends small packets through a window that is large, until no more may be.
func TestSmallPacketsOutstanding(t *testing.T) {
	s := bulkySender{Tracker: New(Config[bulky]{Controller: func(n int) congestion.Controller { return &wide{congestion.NewReno(n)} }})}
	now, pn := epoch, uint64(0)
	for ; pn < 1<<17; pn++ {
		if ok, next := s.CanSend(now); !ok {
			if next.IsZero() {
				break
			}
			now = next
		}
		s.send(now, pn, 60, true, 1)
	}
	if got, most := held(s.Tracker), 8<<20; got > most || pn < 16<<20/outstandingPart {
		t.Errorf("%d bytes held of %d packets, want at most %d of at least %d", got, pn, most, 16<<20/outstandingPart)
	}
	if at := s.NextTimeout(); at.IsZero() {
		t.Error("nothing will ever let another out")
	}
	if err := s.HandleAck(now, ackRange(0, pn/2)); err != nil {
		t.Fatal(err)
	}
	if ok, next := s.CanSend(now); !ok && next.IsZero() {
		t.Error("nothing may be sent after half of it has arrived")
	}
}
