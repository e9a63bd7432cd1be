// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// A modelMessage is what a naive receiver knows of a message, and what its sender does with it.
type modelMessage struct {
	content []byte
	high    int  // the sender sends bytes up to here; -1: nothing
	skip    bool // it abandons the message
	got     []bool
	ended   bool
	seen    int // highest offset received; -1: nothing
	state   modelState
}

type modelState int

const (
	modelOpen modelState = iota
	modelComplete
	modelHanded
	modelSkipped
	modelAtHand
	modelOutdated
)

// used is what FLOW_SKIP says.
func (m *modelMessage) used() uint64 {
	if m.high < 0 {
		return 0
	}
	return wire.MessageCost + uint64(m.high)
}

// A flowModel is a naive receiver of one flow.
type flowModel struct {
	ordering Ordering
	msgs     []*modelMessage
	next     int
	handed   []uint64
	floor    int // above the newest that was complete, if only newer ones are handed over
}

func newFlowModel(ordering Ordering, pick func(int) int) *flowModel {
	m := &flowModel{ordering: ordering}
	for i := range 1 + pick(12) {
		n := []int{0, 1, 5, 40, 300}[pick(5)]
		msg := &modelMessage{content: pattern(n, byte(i)), high: n, got: make([]bool, n), seen: -1}
		if msg.skip = pick(3) == 0; msg.skip {
			msg.high = pick(n+2) - 1
		}
		m.msgs = append(m.msgs, msg)
	}
	return m
}

// data notes a fragment.
func (m *flowModel) data(seq, from, to int, end bool) {
	msg := m.msgs[seq]
	if msg.state != modelOpen {
		return
	}
	for i := from; i < to; i++ {
		msg.got[i] = true
	}
	msg.seen, msg.ended = max(msg.seen, to), msg.ended || end
	if msg.ended && !slices.Contains(msg.got, false) {
		msg.state = modelComplete
		switch {
		case m.ordering == Arrival:
			m.hand(seq)
		case m.ordering == Latest && seq >= m.floor:
			msg.state, m.floor = modelAtHand, seq+1
		}
	}
	m.outdate()
	m.advance()
}

func (m *flowModel) skipped(seq int) {
	if msg := m.msgs[seq]; msg.state == modelOpen {
		msg.state = modelSkipped
	}
	m.advance()
}

// outdate settles what is older than the newest message and has no bytes above those received.
func (m *flowModel) outdate() {
	for seq, msg := range m.msgs {
		newest := seq == m.floor-1
		if seq < m.floor && (msg.state == modelOpen && msg.ended || msg.state == modelComplete || msg.state == modelAtHand && !newest) {
			msg.state = modelOutdated
		}
	}
}

// read reads what is at hand in the order Latest.
func (m *flowModel) read() {
	if m.floor > 0 && m.msgs[m.floor-1].state == modelAtHand {
		m.hand(m.floor - 1)
	}
}

func (m *flowModel) advance() {
	if m.ordering == Latest {
		return
	}
	for ; m.next < len(m.msgs); m.next++ {
		switch m.msgs[m.next].state {
		case modelOpen:
			return
		case modelComplete:
			m.hand(m.next)
		}
	}
}

func (m *flowModel) hand(seq int) {
	m.msgs[seq].state = modelHanded
	m.handed = append(m.handed, uint64(seq))
}

// credit returns what the flow has used and what is held of it.
func (m *flowModel) credit() (used, held uint64) {
	for seq, msg := range m.msgs {
		switch {
		case msg.state == modelSkipped:
			used += msg.used()
		case msg.seen >= 0:
			n := wire.MessageCost + uint64(msg.seen)
			used += n
			switch {
			case msg.state == modelOpen && seq < m.floor:
				held += wire.MessageCost
			case msg.state != modelHanded && msg.state != modelOutdated:
				held += n
			}
		}
	}
	return used, held
}

// checkReassembly sends fragments and skips in any order, overlapping and repeated, as pick says, and compares with the
// model after each.
func checkReassembly(t *testing.T, ordering Ordering, steps int, pick func(int) int) {
	m := newFlowModel(ordering, pick)
	f := newFeed(t, Config{})
	defer f.m.Close(epoch, errTestOver)
	f.must((&wire.FlowOpen{Label: []byte("l"), Arrival: ordering == Arrival}).Append(nil))
	r := f.accept()
	r.SetOrdering(ordering)
	f.m.collect()
	var total uint64
	for _, msg := range m.msgs {
		total += msg.used()
	}
	end := ints(wire.ChunkFlowEnd, 0, uint64(len(m.msgs)), total)
	var trace []string
	var got []uint64
	var err error
	lazy := ordering == Latest // else the reader reads at once
	check := func() {
		t.Helper()
		var msgs []Message
		if !lazy || pick(2) == 0 {
			m.read()
			msgs, err = take(r)
		}
		for _, msg := range msgs {
			if want := m.msgs[msg.Seq].content; !bytes.Equal(msg.Data, want) || msg.Late || msg.More {
				t.Fatalf("message %d: %d bytes %v, want %d\n%s", msg.Seq, len(msg.Data), msg, len(want), trace)
			}
			msg.Release()
			got = append(got, msg.Seq)
		}
		if !slices.Equal(got, m.handed) {
			t.Fatalf("handed over %v, want %v\n%s", got, m.handed, trace)
		}
		used, held := m.credit()
		if f.wantBalance(r, used, held); t.Failed() {
			t.Fatalf("%s", trace)
		}
	}
	fragment := func(seq, from, to int) {
		msg := m.msgs[seq]
		last := to == len(msg.content)
		if from == to && !last {
			return
		}
		trace = append(trace, fmt.Sprintf("data %d [%d,%d) %v\n", seq, from, to, last))
		d := wire.FlowData{Seq: uint64(seq), Offset: uint64(from), End: last, Data: msg.content[from:to]}
		m.data(seq, from, to, last)
		f.must(d.Append(nil))
		check()
	}
	skips := func(from, to int) {
		var used []uint64
		for seq := from; seq < to; seq++ {
			m.skipped(seq)
			used = append(used, m.msgs[seq].used())
		}
		trace = append(trace, fmt.Sprintf("skip [%d,%d) %v\n", from, to, used))
		f.must(skip(0, uint64(from), used...))
		check()
	}
	for range steps {
		seq := pick(len(m.msgs))
		msg := m.msgs[seq]
		switch k := pick(10); {
		case k == 0:
			trace = append(trace, "end\n")
			f.must(end)
			check()
		case k < 4 && msg.skip:
			to := seq + 1
			for to < len(m.msgs) && m.msgs[to].skip && pick(2) == 0 {
				to++
			}
			skips(seq, to)
		case msg.high >= 0:
			from := pick(msg.high + 1)
			fragment(seq, from, from+pick(msg.high-from+1))
		}
	}
	for seq, msg := range m.msgs {
		if msg.skip {
			skips(seq, seq+1)
		} else {
			fragment(seq, 0, len(msg.content))
		}
	}
	f.must(end)
	lazy = false
	check()
	outdated := 0
	for _, msg := range m.msgs {
		if msg.state == modelOutdated {
			outdated++
		}
	}
	if s := r.Stats(); s.Messages != uint64(len(got)) || s.Outdated != uint64(outdated) ||
		s.Messages+s.Skipped+s.Outdated != uint64(len(m.msgs)) {
		t.Fatalf("%+v, want %d messages, %d outdated, %d in all\n%s", s, len(got), outdated, len(m.msgs), trace)
	}
	if err != io.EOF || f.m.pieces != 0 || f.m.ahead != 0 || len(f.m.receivers) != 0 {
		t.Fatalf("at the end: %v, %d pieces, %d bytes ahead, %d flows; want io.EOF and none\n%s", err, f.m.pieces,
			f.m.ahead, len(f.m.receivers), trace)
	}
}

// TestReassemblyModel compares the receiver with the model.
func TestReassemblyModel(t *testing.T) {
	for _, ordering := range []Ordering{Ordered, Arrival, Latest} {
		for seed := range uint64(400) {
			rnd := rand.New(rand.NewPCG(seed, uint64(ordering)))
			if checkReassembly(t, ordering, 80, rnd.IntN); t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		}
	}
}

// FuzzReassembly is TestReassemblyModel with choices made by the fuzzer.
func FuzzReassembly(f *testing.F) {
	f.Add(byte(Latest), []byte{11, 4, 0, 30, 3, 1, 2, 5, 4, 4, 4, 0, 1, 1, 9, 9, 20, 3, 8, 1, 2, 7, 7, 255, 0, 128})
	f.Add(byte(Ordered), []byte{11, 4, 0, 30, 3, 1, 2, 5, 4, 4, 4, 0, 1, 1, 9, 9, 20, 3, 8, 1, 2, 7, 7})
	f.Add(byte(Arrival), []byte{7, 4, 1, 4, 1, 3, 1, 2, 0, 0, 3, 5, 9, 100, 50, 2, 5, 6, 1, 3, 3, 0})
	f.Fuzz(func(t *testing.T, order byte, choices []byte) {
		ordering, steps := Ordering(order%3), min(len(choices)/3, 300)
		checkReassembly(t, ordering, steps, func(n int) int {
			if len(choices) == 0 {
				return 0
			}
			c := int(choices[0])
			choices = choices[1:]
			return c * n / 256
		})
	})
}

// TestTableAgainstMap compares recvTable with a map while its base moves.
func TestTableAgainstMap(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 7))
	for range 50 {
		var table recvTable
		model := map[uint64]*recvMsg{}
		base, spread := uint64(rnd.IntN(100)), 1+rnd.IntN(400)
		for range 500 {
			seq := base + uint64(rnd.IntN(spread))
			if rnd.IntN(20) == 0 {
				seq += 1 << 30
			}
			if got := table.get(base, seq); got != model[seq] {
				t.Fatalf("get(%d, %d) = %p, want %p", base, seq, got, model[seq])
			}
			switch {
			case model[seq] == nil && rnd.IntN(3) > 0:
				model[seq] = new(recvMsg)
				table.put(base, seq, model[seq])
			case model[seq] != nil:
				table.remove(base, seq)
				delete(model, seq)
			}
			for model[base] == nil && rnd.IntN(3) > 0 {
				base++
			}
			n := 0
			table.each(base, func(seq uint64, p *recvMsg) {
				if n++; model[seq] != p {
					t.Fatalf("message %d is %p, want %p", seq, p, model[seq])
				}
			})
			if n != len(model) || table.n != n || len(table.ring) > 2*minRing*(minRing+len(model)) && n > 0 && len(table.ring) > 2*spread {
				t.Fatalf("%d messages, %d counted, %d slots; want %d", n, table.n, len(table.ring), len(model))
			}
		}
	}
}

// TestMessageQueue compares messageQueue with a slice.
func TestMessageQueue(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 3))
	var q, out messageQueue
	var model []uint64
	for seq := range uint64(20_000) {
		switch rnd.IntN(5) {
		case 0, 1, 2:
			out.push().Seq = seq
			model = append(model, seq)
			if rnd.IntN(4) == 0 {
				out.moveTo(&q)
			}
		default:
			if out.moveTo(&q); q.len() != len(model) {
				t.Fatalf("%d messages, want %d", q.len(), len(model))
			}
			for n := rnd.IntN(8); n > 0 && len(model) > 0; n-- {
				if got, front := q.front().Seq, model[0]; got != front || q.pop().Seq != front {
					t.Fatalf("message %d in front, want %d", got, front)
				}
				model = model[1:]
			}
		}
		if q.n == 0 && (q.head != nil || q.tail != nil) {
			t.Fatal("an empty queue holds memory")
		}
	}
}
