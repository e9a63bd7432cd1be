// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"
)

func TestMessage(t *testing.T) {
	p := newPair(t, Config{}, Config{})
	f := p.open(p.a, "chat", &Options{Metadata: []byte("room 7")})
	receipt := p.send1(f, []byte("hello"))
	r := p.accept(p.b)
	if r.Label() != "chat" || string(r.Metadata()) != "room 7" {
		t.Errorf("flow %q with metadata %q, want chat, room 7", r.Label(), r.Metadata())
	}
	if msg := p.recv(r); string(msg.Data) != "hello" || msg.Seq != 0 {
		t.Errorf("message %d %q, want 0 hello", msg.Seq, msg.Data)
	}
	if d := p.now.Sub(epoch); d != 10*time.Millisecond {
		t.Errorf("the first message took %v, want one trip of 10ms: flows open with their first message", d)
	}
	p.until(time.Second, "receipt", func() bool { return receipt.Outcome() == Delivered })
	if err := p.closeFlow(f); err != nil {
		t.Errorf("Close: %v", err)
	}
	p.wantEOF(r)
	p.run(time.Second)
	if !p.a.m.Idle() || len(p.a.m.senders)+len(p.a.m.sendersByID)+len(p.b.m.receivers) > 0 {
		t.Errorf("after the flow's end: idle %v, %d, %d, %d flows remembered, want none", p.a.m.Idle(),
			len(p.a.m.senders), len(p.a.m.sendersByID), len(p.b.m.receivers))
	}
	if at := p.next(); !at.IsZero() {
		t.Errorf("an idle session has a timeout at %v", at.Sub(epoch))
	}
}

func TestMessageSizes(t *testing.T) {
	for _, size := range []int{
		0, 1, 31, 32, 33, 60, 63, 64, 1100, 1130, 1139, 1140, 1141, 1150, 1160, 1165, 1170, 1171, 1172, 1200,
		2300, 2330, 2340, 16383, 16384, 65535, 65536, 65537, 1 << 20, 16 << 20,
	} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			p := newPair(t, Config{}, Config{})
			p.eachLink(func(l *link) { l.delay = time.Millisecond })
			f := p.open(p.a, "", nil)
			first, second := pattern(size, 1), pattern(size/2, 2)
			p.send1(f, first)
			if size < 1<<20 {
				p.send1(f, second)
			}
			r := p.accept(p.b)
			if msg := p.recv(r); !bytes.Equal(msg.Data, first) {
				t.Errorf("message of %d bytes arrived with %d or changed", size, len(msg.Data))
			}
			if size < 1<<20 {
				if msg := p.recv(r); !bytes.Equal(msg.Data, second) || msg.Seq != 1 {
					t.Errorf("second message of %d bytes arrived with %d or changed", size/2, len(msg.Data))
				}
			}
			if err := p.closeFlow(f); err != nil {
				t.Errorf("Close: %v", err)
			}
			p.wantEOF(r)
		})
	}
}

// TestBulkThroughBadNetwork sends more than 10⁷ bytes through loss, reordering and duplication.
func TestBulkThroughBadNetwork(t *testing.T) {
	for _, test := range []struct {
		name string
		link link
		size int
	}{
		{"loss 30% reordered duplicated", link{delay: 5 * time.Millisecond, jitter: 5 * time.Millisecond, loss: 0.3, dup: 0.1}, 10_500_000},
		{"slow with a short queue", link{delay: 20 * time.Millisecond, rate: 1.25e6, queue: 30_000}, 10_500_000},
		{"loss 2%", link{delay: 20 * time.Millisecond, loss: 0.02}, 20_000_000},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newPair(t, Config{}, Config{})
			p.eachLink(func(l *link) { *l = test.link })
			f := p.open(p.a, "bulk", nil)
			var sent, received int
			var r *Receiver
			var receipts []*Receipt
			sizes := []int{0, 1, 100, 1000, 1150, 5000, 60_000, 200_000}
			var msg []byte
			p.until(4*time.Hour, "all arrives", func() bool {
				for sent < test.size {
					n := len(receipts)
					if msg == nil {
						msg = pattern(sizes[n%len(sizes)], byte(n))
					}
					receipt, err := f.TrySend(msg)
					if errors.Is(err, ErrWouldBlock) {
						break
					}
					if err != nil {
						t.Fatal(err)
					}
					msg = nil
					receipts = append(receipts, receipt)
					sent += sizes[n%len(sizes)]
				}
				if r == nil {
					r, _ = p.b.m.Accept(over)
				}
				for r != nil {
					msg, err := r.Recv(over)
					if err != nil {
						break
					}
					if n := int(msg.Seq); !bytes.Equal(msg.Data, pattern(sizes[n%len(sizes)], byte(n))) {
						t.Fatalf("message %d arrived changed", msg.Seq)
					}
					received += len(msg.Data)
				}
				return sent >= test.size && received == sent
			})
			if err := p.closeFlow(f); err != nil {
				t.Errorf("Close: %v", err)
			}
			for i, receipt := range receipts {
				if receipt.Outcome() != Delivered {
					t.Fatalf("receipt %d is %v, want Delivered", i, receipt.Outcome())
				}
			}
			p.until(time.Minute, "nothing is in flight", func() bool { return p.a.m.loss.Outstanding() == 0 })
			p.flush(p.a)
			s := p.a.m.Stats()
			t.Logf("%d bytes in %v: %.0f B/s, %d packets, %d lost, %d dropped by the link, %d bytes repeated, sent again %d",
				sent, p.now.Sub(epoch), float64(sent)/p.now.Sub(epoch).Seconds(), s.PacketsSent, s.PacketsLost,
				p.a.link.drops, p.b.m.Stats().BytesDuplicate, int(s.BytesSent)-sent)
			if s.InFlight != 0 || p.a.m.loss.Outstanding() != 0 {
				t.Errorf("%d bytes, %d packets in flight at the end, want none", s.InFlight, p.a.m.loss.Outstanding())
			}
		})
	}
}

// TestUtilisation checks that a clean path of 10 Mbit/s with a queue of one round trip is filled.
func TestUtilisation(t *testing.T) {
	p := newPair(t, Config{}, Config{})
	p.eachLink(func(l *link) { *l = link{delay: 20 * time.Millisecond, rate: 1.25e6, queue: 50_000} })
	f := p.open(p.a, "bulk", nil)
	msg := pattern(1000, 1)
	var r *Receiver
	received := 0
	for p.now.Sub(epoch) < 10*time.Second {
		for {
			if _, err := f.TrySend(msg); err != nil {
				break
			}
		}
		if r == nil {
			r, _ = p.b.m.Accept(over)
		}
		for r != nil {
			m, err := r.Recv(over)
			if err != nil {
				break
			}
			received += len(m.Data)
		}
		if !p.step(p.now.Add(time.Second)) {
			t.Fatal("nothing happens")
		}
	}
	rate := float64(received) / p.now.Sub(epoch).Seconds()
	t.Logf("%.0f B/s of 1250000, RTT %v", rate, p.a.m.Stats().RTT)
	if rate < 0.8*1.25e6 {
		t.Errorf("%.0f B/s over a path of 1250000 B/s, want at least 80 %%", rate)
	}
}

func TestTenThousandFlows(t *testing.T) {
	p := newPair(t, Config{}, Config{})
	p.eachLink(func(l *link) { l.loss = 0.02 })
	const n = 10_000
	for i := range n {
		f := p.open(p.a, fmt.Sprint("flow ", i), nil)
		p.send1(f, []byte{byte(i), byte(i >> 8)})
		if err := f.Close(over); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	seen := make(map[string]bool)
	p.until(time.Minute, "all flows arrive", func() bool {
		for {
			r, err := p.b.m.Accept(over)
			if err != nil {
				return len(seen) == n
			}
			msg, err := r.Recv(over)
			if err != nil {
				// The opening came with an announcement only, or the message is being repeated.
				msg = p.recv(r)
			}
			if i := int(msg.Data[0]) | int(msg.Data[1])<<8; r.Label() != fmt.Sprint("flow ", i) || seen[r.Label()] {
				t.Fatalf("flow %q brought message %d, or came twice", r.Label(), i)
			}
			seen[r.Label()] = true
		}
	})
	p.run(10 * time.Second)
	if !p.a.m.Idle() || len(p.a.m.senders)+len(p.a.m.sendersByID)+len(p.b.m.receivers)+len(p.b.m.finished) > 1 {
		t.Errorf("after all flows have ended: idle %v, %d and %d flows and %d ranges remembered", p.a.m.Idle(),
			len(p.a.m.senders)+len(p.a.m.sendersByID), len(p.b.m.receivers), len(p.b.m.finished))
	}
	t.Logf("%d flows in %v, %d packets", n, p.now.Sub(epoch)-10*time.Second, p.a.sent)
}

// TestFlowLimit opens more flows than may be open at a time; the rest must wait until the first are done with.
func TestFlowLimit(t *testing.T) {
	p := newPair(t, Config{}, Config{MaxIncomingFlows: 128})
	for i := range 300 {
		p.send1(p.open(p.a, "", nil), []byte{byte(i)})
	}
	p.run(time.Second)
	var open []*Receiver
	for {
		r, err := p.b.m.Accept(over)
		if err != nil {
			break
		}
		open = append(open, r)
	}
	if len(open) != 128 {
		t.Fatalf("%d flows arrived, want the 128 allowed", len(open))
	}
	for _, r := range open {
		r.Reject(1)
	}
	p.run(time.Second)
	n := 0
	for ; ; n++ {
		if _, err := p.b.m.Accept(over); err != nil {
			break
		}
	}
	if n != 128 {
		t.Errorf("%d more flows arrived after 128 were rejected, want 128", n)
	}
}

func TestAnnounce(t *testing.T) {
	p := newPair(t, Config{}, Config{})
	dropped := 0
	p.a.filter = func(uint64, []byte) bool { dropped++; return dropped <= 2 }
	f := p.open(p.a, "quiet", &Options{Metadata: []byte("m")})
	p.run(time.Second)
	if _, err := p.b.m.Accept(over); err == nil {
		t.Fatal("the flow arrived though it was neither used nor announced")
	}
	dropped = 0
	f.Announce()
	r := p.accept(p.b)
	if r.Label() != "quiet" || string(r.Metadata()) != "m" {
		t.Errorf("announced flow arrived as %q %q", r.Label(), r.Metadata())
	}
	if _, err := r.Recv(over); !errors.Is(err, context.Canceled) {
		t.Errorf("Recv of an announced flow: %v, want to wait", err)
	}
	if err := p.closeFlow(f); err != nil {
		t.Errorf("Close: %v", err)
	}
	p.wantEOF(r)
}

// TestCloseWithoutMessages checks that the peer sees a flow that was closed at once.
func TestCloseWithoutMessages(t *testing.T) {
	p := newPair(t, Config{}, Config{})
	f := p.open(p.a, "empty", nil)
	if err := p.closeFlow(f); err != nil {
		t.Errorf("Close: %v", err)
	}
	p.wantEOF(p.accept(p.b))
	if _, err := f.Send(over, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("Send after Close: %v, want ErrClosed", err)
	}
}

// TestPacketSizeChanges cuts the packet size in the middle of a message.
func TestPacketSizeChanges(t *testing.T) {
	p := newPair(t, Config{}, Config{})
	p.eachLink(func(l *link) { l.loss = 0.05 })
	want := pattern(500_000, 3)
	f := p.open(p.a, "", nil)
	p.send1(f, want)
	r := p.accept(p.b)
	for i := range 20 {
		p.a.limit = []int{1171, 900, 1400, 1000, 8900}[i%5]
		p.run(10 * time.Millisecond)
	}
	if msg := p.recv(r); !bytes.Equal(msg.Data, want) {
		t.Error("message changed in transit")
	}
}

// TestLossInOneFlowDelaysNoOther loses every packet of one flow once and checks that another flow does not notice.
func TestLossInOneFlowDelaysNoOther(t *testing.T) {
	p := newPair(t, Config{}, Config{})
	f, g := p.open(p.a, "f", nil), p.open(p.a, "g", nil)
	p.a.filter = func(pn uint64, _ []byte) bool { return pn == 1 }
	p.send1(f, pattern(1100, 0))
	p.flush(p.a)
	p.send1(f, pattern(1100, 1)) // lost
	p.flush(p.a)
	p.send1(g, []byte("on time"))
	rf, rg := p.accept(p.b), p.accept(p.b)
	p.recv(rf)
	p.recv(rg)
	if d := p.now.Sub(epoch); d > 11*time.Millisecond {
		t.Errorf("a message of the other flow took %v, want one trip", d)
	}
	p.recv(rf)
	if d := p.now.Sub(epoch); d < 30*time.Millisecond {
		t.Errorf("the lost message arrived after %v; was it lost?", d)
	}
}

func TestPriority(t *testing.T) {
	p := newPair(t, Config{}, Config{})
	p.eachLink(func(l *link) { *l = link{delay: 10 * time.Millisecond, rate: 125_000, queue: 20_000} })
	bulk := p.open(p.a, "bulk", &Options{Priority: Bulk})
	p.send1(bulk, pattern(400_000, 1))
	p.run(time.Second)
	urgent := p.open(p.a, "urgent", &Options{Priority: Urgent})
	equal := p.open(p.a, "equal", &Options{Priority: Bulk})
	start := p.now
	p.send1(urgent, pattern(20_000, 2))
	p.send1(equal, pattern(20_000, 3))
	rb := p.accept(p.b)
	ru := p.accept(p.b)
	p.recv(ru)
	urgentTook := p.now.Sub(start)
	re := p.accept(p.b)
	p.recv(re)
	equalTook := p.now.Sub(start)
	p.recv(rb)
	all := p.now.Sub(epoch)
	// 20 kB take 0.16 s alone, and what is in the queue already takes as much again.
	if ru.Label() != "urgent" || urgentTook > 450*time.Millisecond {
		t.Errorf("urgent message after %v, want it to pass the bulk", urgentTook)
	}
	if equalTook > urgentTook+600*time.Millisecond {
		t.Errorf("message at equal priority after %v, want it to share with the bulk", equalTook)
	}
	t.Logf("urgent %v, equal %v, everything %v", urgentTook, equalTook, all)
}

func TestOpenErrors(t *testing.T) {
	p := newPair(t, Config{}, Config{})
	if _, err := p.a.m.Open(string(make([]byte, MaxLabel+1)), nil); !errors.Is(err, ErrTooLarge) {
		t.Errorf("Open with a long label: %v, want ErrTooLarge", err)
	}
	if _, err := p.a.m.Open("", &Options{Metadata: make([]byte, MaxMetadata+1)}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("Open with long metadata: %v, want ErrTooLarge", err)
	}
	f := p.open(p.a, "", nil)
	if _, err := f.Send(over, make([]byte, 16<<20+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("Send of a long message: %v, want ErrTooLarge", err)
	}
}

func TestMessagesIterator(t *testing.T) {
	p := newPair(t, Config{}, Config{})
	f := p.open(p.a, "", nil)
	for i := range 3 {
		p.send1(f, []byte{byte(i)})
	}
	if err := p.closeFlow(f); err != nil {
		t.Fatal(err)
	}
	r := p.accept(p.b)
	n := 0
	for msg, err := range r.Messages(over) {
		if err != nil || int(msg.Data[0]) != n {
			t.Fatalf("element %d: %v, %v", n, msg, err)
		}
		n++
	}
	if n != 3 {
		t.Errorf("%d messages, want 3 and no error after an orderly close", n)
	}
	if _, err := r.Recv(over); err != io.EOF {
		t.Errorf("Recv at the end: %v, want io.EOF again", err)
	}
}
