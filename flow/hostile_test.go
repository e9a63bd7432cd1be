// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"errors"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// A feed hands hand-made chunks to a mux.
type feed struct {
	t   *testing.T
	m   *Mux
	pn  uint64
	now time.Time
}

func newFeed(t *testing.T, c Config) *feed {
	m := NewMux(&c)
	t.Cleanup(func() { m.Close(epoch, errTestOver) })
	return &feed{t: t, m: m, now: epoch}
}

// chunks handles chunks as one packet.
func (f *feed) chunks(chunks ...[]byte) error {
	f.t.Helper()
	for _, b := range chunks {
		t, body, _, err := wire.NextChunk(b)
		if err != nil {
			f.t.Fatal(err)
		}
		if err := f.m.HandleChunk(f.now, t, body); err != nil {
			var pe *wire.ProtocolError
			if !errors.As(err, &pe) || pe.Code < wire.CodeProtocolFirst || pe.Code > wire.CodeProtocolLast {
				f.t.Errorf("HandleChunk(%x): %v, want a ProtocolError", b, err)
			}
			return err
		}
	}
	f.m.HandlePacketEnd(f.now, f.pn, true, wire.NotECT)
	f.pn++
	return nil
}

func open(id uint64) []byte { return (&wire.FlowOpen{Flow: id, Label: []byte("l")}).Append(nil) }

func data(id, seq, off uint64, n int, end bool) []byte {
	return (&wire.FlowData{Flow: id, Seq: seq, Offset: off, End: end, Data: make([]byte, n)}).Append(nil)
}

func part(id, seq, off uint64, n int) []byte {
	return (&wire.FlowData{Flow: id, Seq: seq, Offset: off, End: true, More: true, Data: make([]byte, n)}).Append(nil)
}

func skip(id, first uint64, used ...uint64) []byte {
	b, _ := wire.AppendFlowSkip(nil, id, first, used, 1<<20)
	return b
}

func ints(t wire.ChunkType, v ...uint64) []byte { return wire.AppendInts(nil, t, v...) }

func TestViolations(t *testing.T) {
	const cost = wire.MessageCost
	for _, test := range []struct {
		name string
		code wire.Code
		in   [][]byte // the last is the violation
	}{
		{"data before opening", wire.CodeFlowState, [][]byte{data(0, 0, 0, 1, true)}},
		{"end before opening", wire.CodeFlowState, [][]byte{ints(wire.ChunkFlowEnd, 0, 0, 0)}},
		{"too many flows", wire.CodeFlowLimit, [][]byte{open(20_000)}},
		{"message with two ends", wire.CodeFlowState, [][]byte{open(0), data(0, 1, 0, 5, true), data(0, 1, 5, 1, false)}},
		{"message that ends before its data", wire.CodeFlowState, [][]byte{open(0), data(0, 1, 5, 5, false), data(0, 1, 0, 5, true)}},
		{"more than the flow's credit", wire.CodeFlowControl, [][]byte{open(0), data(0, 1, wire.InitialFlowWindow-cost-1, 1, false), data(0, 1, wire.InitialFlowWindow-cost, 1, false)}},
		{"far beyond the flow's credit", wire.CodeFlowControl, [][]byte{open(0), data(0, 1, 1<<20, 1, false)}},
		{"data after the end", wire.CodeFlowState, [][]byte{open(0), ints(wire.ChunkFlowEnd, 0, 2, 2*cost), data(0, 2, 0, 0, true)}},
		{"end before data", wire.CodeFlowState, [][]byte{open(0), data(0, 2, 0, 0, true), ints(wire.ChunkFlowEnd, 0, 2, 2*cost)}},
		{"end before delivered data", wire.CodeFlowState, [][]byte{open(0), data(0, 0, 0, 0, true), ints(wire.ChunkFlowEnd, 0, 0, cost)}},
		{"two ends", wire.CodeFlowState, [][]byte{open(0), ints(wire.ChunkFlowEnd, 0, 2, 2*cost), ints(wire.ChunkFlowEnd, 0, 3, 3*cost)}},
		{"end with less than used", wire.CodeFlowState, [][]byte{open(0), data(0, 0, 0, 5, true), ints(wire.ChunkFlowEnd, 0, 1, cost)}},
		{"end with more than the credit", wire.CodeFlowControl, [][]byte{open(0), ints(wire.ChunkFlowEnd, 0, 1, wire.InitialFlowWindow+1)}},
		{"end with more than came", wire.CodeFlowState, [][]byte{open(0), data(0, 0, 0, 5, true), ints(wire.ChunkFlowEnd, 0, 1, cost+6)}},
		{"more than announced at the end", wire.CodeFlowState, [][]byte{open(0), ints(wire.ChunkFlowEnd, 0, 1, cost+1), data(0, 0, 0, 2, true)}},
		{"abort with more than the credit", wire.CodeFlowControl, [][]byte{open(0), ints(wire.ChunkFlowAbort, 0, 0, wire.MaxVarint)}},
		{"abort with less than used", wire.CodeFlowState, [][]byte{open(0), data(0, 0, 0, 5, true), ints(wire.ChunkFlowAbort, 0, 0, 1)}},
		{"skip before opening", wire.CodeFlowState, [][]byte{skip(0, 0, 0)}},
		{"skip past the end", wire.CodeFlowState, [][]byte{open(0), ints(wire.ChunkFlowEnd, 0, 2, 2*cost), skip(0, 1, cost, 0)}},
		{"skip with less than used", wire.CodeFlowState, [][]byte{open(0), data(0, 0, 0, 5, false), skip(0, 0, cost)}},
		{"skip with nothing used of a begun message", wire.CodeFlowState, [][]byte{open(0), data(0, 0, 0, 5, false), skip(0, 0, 0)}},
		{"skip with less than a message costs", wire.CodeFlowState, [][]byte{open(0), skip(0, 0, cost-1)}},
		{"skip with more than the message's length", wire.CodeFlowState, [][]byte{open(0), data(0, 0, 3, 2, true), skip(0, 0, cost+6)}},
		{"skip with more than the credit", wire.CodeFlowControl, [][]byte{open(0), skip(0, 0, 1<<30)}},
		{"skip with more than any credit", wire.CodeFlowControl, [][]byte{open(0), skip(0, 0, wire.MaxVarint)}},
		{"skip with more than announced at the end", wire.CodeFlowState, [][]byte{open(0), ints(wire.ChunkFlowEnd, 0, 1, cost), skip(0, 0, cost+1)}},
		{"skips with less than announced at the end", wire.CodeFlowState, [][]byte{open(0), ints(wire.ChunkFlowEnd, 0, 2, 2*cost), skip(0, 0, cost, 0)}},
		{"end before a skipped message", wire.CodeFlowState, [][]byte{open(0), skip(0, 5, 0), ints(wire.ChunkFlowEnd, 0, 5, 0)}},
		{"malformed skip", wire.CodeProtocol, [][]byte{open(0), {0x1e, 2, 0, 0}}},
		{"the type once meant for skips", wire.CodeProtocol, [][]byte{open(0), ints(0x1b, 0, 1, 0)}},
		{"message that is a part and is not", wire.CodeFlowState, [][]byte{open(0), data(0, 1, 5, 5, true), part(0, 1, 5, 5)}},
		{"window of an unknown flow", wire.CodeFlowState, [][]byte{ints(wire.ChunkFlowWindow, 0, 1<<20)}},
		{"rejection of an unknown flow", wire.CodeFlowState, [][]byte{ints(wire.ChunkFlowReject, 7, 1)}},
		{"ack of an unsent packet", wire.CodeAck, [][]byte{{0x02, 3, 0, 0, 0}}},
		{"malformed ack", wire.CodeProtocol, [][]byte{{0x02, 1, 0}}},
		{"malformed opening", wire.CodeProtocol, [][]byte{{0x18, 1, 0}}},
		{"malformed data", wire.CodeProtocol, [][]byte{open(0), {0x10, 2, 0, 0}}},
		{"malformed end", wire.CodeProtocol, [][]byte{open(0), {0x19, 2, 0, 0}}},
		{"unknown chunk", wire.CodeProtocol, [][]byte{{0x3f, 0}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFeed(t, Config{RecvWindow: wire.InitialFlowWindow})
			last := len(test.in) - 1
			if err := f.chunks(test.in[:last]...); err != nil {
				t.Fatalf("legal chunks: %v", err)
			}
			var pe *wire.ProtocolError
			if err := f.chunks(test.in[last]); !errors.As(err, &pe) || pe.Code != test.code {
				t.Errorf("got %v, want a ProtocolError with code %#x (%v)", err, uint64(test.code), test.code)
			}
		})
	}
}

// TestLegalOddities checks that what is odd but allowed is taken.
func TestLegalOddities(t *testing.T) {
	const cost = wire.MessageCost
	f := newFeed(t, Config{})
	if err := f.chunks(
		open(5), open(5), data(5, 0, 2, 2, true), data(5, 0, 1, 2, false), data(5, 0, 0, 4, true), // overlapping
		data(5, 0, 0, 4, true), // a duplicate
		ints(wire.ChunkFlowEnd, 5, 1, cost+4), ints(wire.ChunkFlowEnd, 5, 1, cost+4), open(5), data(5, 3, 0, 1, true),
		ints(wire.ChunkFlowBlocked, 5, 0), ints(wire.ChunkFlowAbort, 5, 0, 0), ints(wire.ChunkSessionBlocked, 0),
		ints(wire.ChunkSessionLimits, 0, 0, 0), []byte{0x90, 1, 2},
	); err != nil {
		t.Fatal(err)
	}
	r, err := f.m.Accept(over)
	if err != nil {
		t.Fatal(err)
	}
	if msg, err := r.Recv(over); err != nil || len(msg.Data) != 4 {
		t.Errorf("Recv = %v, %v, want 4 bytes", msg, err)
	}
}

// TestUnknownCriticalOption checks that a flow asking for something unknown and critical is rejected, and no other.
func TestUnknownCriticalOption(t *testing.T) {
	f := newFeed(t, Config{})
	head := "\x00\x00\x00"
	for id, option := range []string{"\x1f\x00", "\x20\x00"} {
		body := append([]byte{byte(id)}, head[1:]+option...)
		if err := f.chunks(wire.AppendChunk(nil, wire.ChunkFlowOpen, body), data(uint64(id), 0, 0, 1, true)); err != nil {
			t.Fatal(err)
		}
	}
	r, err := f.m.Accept(over)
	if err != nil || r.id != 1 {
		t.Fatalf("Accept = %v, %v, want flow 1 only", r, err)
	}
	if _, err := f.m.Accept(over); err == nil {
		t.Error("the flow with the unknown option can be accepted")
	}
	b := f.m.Append(epoch, 0, nil, 1171)
	for len(b) > 0 {
		typ, body, rest, _ := wire.NextChunk(b)
		if typ == wire.ChunkFlowReject {
			var id, code uint64
			if wire.ParseInts(body, &id, &code); id != 0 || code != uint64(wire.CodeFlowOption) {
				t.Errorf("rejection of flow %d with %#x, want 0 with %#x", id, code, uint64(wire.CodeFlowOption))
			}
			return
		}
		b = rest
	}
	t.Error("no rejection was sent")
}

// TestFlowTableIsBounded opens and finishes flows that nobody accepts.
func TestFlowTableIsBounded(t *testing.T) {
	f := newFeed(t, Config{MaxIncomingFlows: 200})
	var err error
	n := uint64(0)
	for ; n < 10_000 && err == nil; n++ {
		err = f.chunks(open(n), ints(wire.ChunkFlowEnd, n, 0, 0))
	}
	var pe *wire.ProtocolError
	if !errors.As(err, &pe) || pe.Code != wire.CodeFlowLimit || n > 201 {
		t.Errorf("after %d flows: %v, want the limit of 200 to hold though they have ended", n, err)
	}
}

// TestSilentPeerIsBounded sends to a mux that only receives: what it remembers of its acknowledgements must not grow.
func TestSilentPeerIsBounded(t *testing.T) {
	f := newFeed(t, Config{})
	now := epoch
	for pn := range uint64(100_000) {
		f.m.HandlePacketEnd(now, 3*pn, true, wire.NotECT) // with gaps, so that ranges would accumulate
		b := f.m.Append(now, pn, nil, 1171)
		if len(b) > 0 {
			f.m.Sent(now, pn, len(b)+overhead, false)
		}
		now = now.Add(time.Millisecond)
		if at := f.m.NextTimeout(); !at.IsZero() && !at.After(now) {
			f.m.HandleTimeout(now)
		}
	}
	if n := f.m.loss.Tracked(); n > 2048 || f.m.acks.Ranges() > wire.MaxAckRanges {
		t.Errorf("%d packets and %d ranges remembered", n, f.m.acks.Ranges())
	}
}

// TestPiecesAreBounded sends messages in pieces that never join.
func TestPiecesAreBounded(t *testing.T) {
	for _, perMessage := range []uint64{1 << 20, 1000} {
		f := newFeed(t, Config{RecvWindow: 1 << 20})
		if err := f.chunks(open(0)); err != nil {
			t.Fatal(err)
		}
		var err error
		n := uint64(0)
		for ; err == nil && n < 200_000; n++ {
			err = f.chunks(data(0, 1+n/perMessage, 2*(n%perMessage), 1, false))
			f.m.Append(epoch, 0, nil, 1171)
		}
		var pe *wire.ProtocolError
		if !errors.As(err, &pe) || n > maxSessionPieces+n/perMessage+2 || perMessage > maxPieces && n > maxPieces+1 {
			t.Errorf("%d pieces per message: %v after %d pieces, want a limit", perMessage, err, n)
		}
	}
}

// TestEmptyMessageBehindLost loses a message in front of an empty one that ends the flow.
func TestEmptyMessageBehindLost(t *testing.T) {
	f := newFeed(t, Config{})
	if err := f.chunks(open(0), data(0, 1, 0, 0, true), ints(wire.ChunkFlowEnd, 0, 2, 2*wire.MessageCost+5), data(0, 0, 0, 5, true)); err != nil {
		t.Fatal(err)
	}
	r, err := f.m.Accept(over)
	if err != nil {
		t.Fatal(err)
	}
	for want := range uint64(2) {
		if msg, err := r.Recv(over); err != nil || msg.Seq != want {
			t.Fatalf("Recv = %v, %v, want message %d", msg, err, want)
		}
	}
}

// TestOneAckPerPacket: a packet full of acknowledgements costs no more than one.
func TestOneAckPerPacket(t *testing.T) {
	f := newFeed(t, Config{})
	ack := func(pn uint64) []byte {
		b, _ := wire.AppendAck(nil, &wire.Ack{Ranges: []wire.AckRange{{Start: pn, End: pn + 1}}}, 100)
		return b
	}
	for pn := range uint64(4) {
		f.m.Sent(f.now, pn, 100, true)
	}
	for _, want := range []struct {
		largest     uint64
		outstanding int
	}{{1, 3}, {3, 1}} { // packet 0 is lost then
		if err := f.chunks(ack(want.largest), ack(0), ack(2)); err != nil {
			t.Fatal(err)
		}
		if got := f.m.loss.Outstanding(); f.m.LargestAcked() != int64(want.largest) || got != want.outstanding {
			t.Errorf("largest acknowledged %d, %d outstanding; want %+v: only the first ACK of a packet counts",
				f.m.LargestAcked(), got, want)
		}
	}
}
