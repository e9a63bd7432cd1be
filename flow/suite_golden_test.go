// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// A chart writes down an exchange: who sends which chunks when, what is lost, what is handed over, what becomes of
// receipts. It is for exchanges short enough to be drawn, as RFC 7016 draws them in §2.3 and §3.6.
type chart struct {
	p        *pair
	b        strings.Builder
	receipts []*Receipt
	told     []Outcome
	in       *Receiver
	ended    bool
}

func newChart(t *testing.T) *chart {
	c := &chart{p: newPair(t, Config{Controller: fixedWindow(1 << 20)}, Config{Controller: fixedWindow(1 << 20)})}
	for _, s := range []*side{c.p.a, c.p.b} {
		s.filter = func(pn uint64, payload []byte) bool { c.packet(s, pn, payload, ""); return false }
	}
	return c
}

// lose has the packets that which names lost, on the way from s.
func (c *chart) lose(s *side, which func(pn uint64, payload []byte) bool) {
	s.filter = func(pn uint64, payload []byte) bool {
		lost := which(pn, payload)
		note := ""
		if lost {
			note = " LOST"
		}
		c.packet(s, pn, payload, note)
		return lost
	}
}

func (c *chart) line(format string, args ...any) {
	fmt.Fprintf(&c.b, "%8.2f  ", float64(c.p.now.Sub(epoch))/float64(ms))
	fmt.Fprintf(&c.b, format+"\n", args...)
}

func (c *chart) packet(s *side, pn uint64, payload []byte, note string) {
	arrow := "a --%d-> b "
	if s == c.p.b {
		arrow = "a <-%d-- b "
	}
	var said []string
	for len(payload) > 0 {
		t, body, rest, err := wire.NextChunk(payload)
		if err != nil {
			c.p.t.Fatal(err)
		}
		said = append(said, describe(t, body))
		payload = rest
	}
	c.line(arrow+" %s%s", pn, strings.Join(said, "; "), note)
}

// describe says what a chunk says.
func describe(t wire.ChunkType, body []byte) string {
	var v [3]uint64
	switch {
	case t.IsFlowData():
		d, _ := wire.ParseFlowData(t, body)
		end := ""
		if d.End {
			end = " end"
		}
		if d.More {
			end += " more"
		}
		return fmt.Sprintf("DATA %d/%d [%d,%d)%s", d.Flow, d.Seq, d.Offset, d.Offset+uint64(len(d.Data)), end)
	case t == wire.ChunkFlowOpen:
		o, _ := wire.ParseFlowOpen(body)
		return fmt.Sprintf("OPEN %d %q", o.Flow, o.Label)
	case t.IsAck():
		var a wire.Ack
		if err := a.Parse(t, body); err != nil {
			return err.Error()
		}
		var ranges []string
		for _, r := range slices.Backward(a.Ranges) {
			if r.End-r.Start > 1 {
				ranges = append(ranges, fmt.Sprintf("%d-%d", r.Start, r.End-1))
			} else {
				ranges = append(ranges, fmt.Sprint(r.Start))
			}
		}
		return "ACK " + strings.Join(ranges, " ")
	case t == wire.ChunkFlowSkip:
		s, _ := wire.ParseFlowSkip(body)
		out := fmt.Sprintf("SKIP %d", s.Flow)
		for seq, used, ok := s.Next(); ok; seq, used, ok = s.Next() {
			out += fmt.Sprintf(" #%d used %d", seq, used)
		}
		return out
	case t == wire.ChunkFlowEnd:
		_ = wire.ParseInts(body, &v[0], &v[1], &v[2])
		return fmt.Sprintf("END %d, %d messages, used %d", v[0], v[1], v[2])
	case t == wire.ChunkFlowAbort:
		_ = wire.ParseInts(body, &v[0], &v[1], &v[2])
		return fmt.Sprintf("ABORT %d, code %d, used %d", v[0], v[1], v[2])
	case t == wire.ChunkFlowReject:
		_ = wire.ParseInts(body, &v[0], &v[1])
		return fmt.Sprintf("REJECT %d, code %d", v[0], v[1])
	case t == wire.ChunkFlowWindow:
		_ = wire.ParseInts(body, &v[0], &v[1])
		return fmt.Sprintf("WINDOW %d up to %d", v[0], v[1])
	case t == wire.ChunkSessionLimits:
		_ = wire.ParseInts(body, &v[0], &v[1], &v[2])
		return fmt.Sprintf("LIMITS %d, %d flows, messages of %d", v[0], v[1], v[2])
	}
	return t.String()
}

func (c *chart) note(format string, args ...any) { fmt.Fprintf(&c.b, "# "+format+"\n", args...) }

// send sends a message in a packet of its own.
func (c *chart) send(s *Sender, n int, opts ...SendOption) *Receipt {
	r, err := s.TrySend(pattern(n, byte(len(c.receipts))), opts...)
	if err != nil {
		c.p.t.Fatal(err)
	}
	c.receipts, c.told = append(c.receipts, r), append(c.told, Pending)
	c.p.flush(c.p.a)
	return r
}

// run advances and writes down what comes of it.
func (c *chart) run(d time.Duration) {
	limit := c.p.now.Add(d)
	for c.p.step(limit) {
		c.look()
	}
	c.p.now = limit
	c.look()
}

func (c *chart) look() {
	if c.in == nil {
		if c.in, _ = c.p.b.m.Accept(over); c.in != nil {
			c.line("           b accepts %q", c.in.Label())
		}
	}
	for c.in != nil && !c.ended {
		msg, err := c.in.Recv(over)
		if err == nil {
			c.line("           b receives #%d, %d bytes", msg.Seq, len(msg.Data))
			continue
		}
		var aborted *AbortedError
		if c.ended = err == io.EOF || errors.Is(err, ErrClosed) || errors.As(err, &aborted); c.ended {
			c.line("           b receives %v", err)
		}
		break
	}
	for i, r := range c.receipts {
		if o := r.Outcome(); o != c.told[i] {
			c.told[i] = o
			why := ""
			if o == Abandoned {
				why = ", " + r.Reason().String()
			}
			c.line("a receipt #%d: %v%s", r.Seq(), o, why)
		}
	}
}

// compare checks the chart against testdata/name.golden, or writes that with -update.
func (c *chart) compare(name string) {
	t := c.p.t
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(file, []byte(c.b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	got, wanted := strings.Split(c.b.String(), "\n"), strings.Split(string(want), "\n")
	for i := range max(len(got), len(wanted)) {
		switch {
		case i >= len(got) || i >= len(wanted):
			t.Errorf("%s has %d lines, want %d", name, len(got), len(wanted))
			return
		case got[i] != wanted[i]:
			t.Errorf("%s, line %d:\n%s\nwant\n%s", name, i+1, got[i], wanted[i])
			return
		}
	}
}

// settled checks that nothing is left of the flow at either end.
func (c *chart) settled() {
	c.p.t.Helper()
	if st := c.p.a.m.Stats(); c.p.a.m.Idle() {
		c.note("a has %d flows, %d bytes in flight", st.OutgoingFlows, st.InFlight)
	} else {
		c.p.t.Error("a is not idle at the end")
	}
	if c.p.wantNoLeak(); c.p.t.Failed() {
		c.p.t.Log(c.b.String())
	}
}

// TestCharts compares exchanges with what they should look like: those that RFC 7016 draws, in this protocol's terms.
// After a change that is meant, rewrite them with -update and read the difference.
func TestCharts(t *testing.T) {
	t.Run("chart-packing", func(t *testing.T) {
		// What follows in the same flow costs hardly anything beside its data. RFC 7016 §2.3.12.
		c := newChart(t)
		s := c.p.open(c.p.a, "packing", nil)
		c.note("twenty small messages, queued at once")
		for i := range 20 {
			r, err := s.TrySend(pattern(i%3+10, byte(i)))
			if err != nil {
				t.Fatal(err)
			}
			c.receipts, c.told = append(c.receipts, r), append(c.told, Pending)
		}
		c.run(50 * ms)
		c.note("a message of three packets between two small ones")
		for _, n := range []int{5, 2500, 6} {
			r, _ := s.TrySend(pattern(n, 1))
			c.receipts, c.told = append(c.receipts, r), append(c.told, Pending)
		}
		c.run(50 * ms)
		_ = s.Close(over)
		c.run(100 * ms)
		c.settled()
		c.compare("chart-packing")
	})
	t.Run("chart-ranges", func(t *testing.T) {
		// What is acknowledged when 17, 19, 20, 25 and 26 are missing, and what of it where there is less room: the newest
		// ranges, as far as they fit. RFC 7016 §2.3.13, §2.3.14, where it is the oldest.
		c := newChart(t)
		for _, limit := range []int{1171, 15, 13, 12, 8, 6} {
			m := NewMux(nil)
			for pn := range uint64(29) {
				if pn != 17 && pn != 19 && pn != 20 && pn != 25 && pn != 26 {
					m.HandlePacketEnd(epoch, pn, true, wire.NotECT)
				}
			}
			b, _ := m.acks.Append(epoch, nil, limit)
			if len(b) > limit {
				t.Fatalf("%d bytes, limit %d", len(b), limit)
			}
			said := "nothing fits"
			if len(b) > 0 {
				typ, body, rest, err := wire.NextChunk(b)
				if said = describe(typ, body); err != nil || len(rest) > 0 {
					t.Errorf("%x: %v", b, err)
				}
			}
			c.note("at most %4d bytes: %-32x %s", limit, b, said)
			m.Close(epoch, errTestOver)
		}
		c.compare("chart-ranges")
	})
	t.Run("chart-normal", func(t *testing.T) {
		// A flow without loss. RFC 7016 §3.6.2.3.
		c := newChart(t)
		s := c.p.open(c.p.a, "normal", nil)
		for i := range 6 {
			c.send(s, 100+i)
			c.run(7 * ms)
		}
		_ = s.Close(over)
		c.run(200 * ms)
		c.settled()
		c.compare("chart-normal")
	})
	t.Run("chart-loss", func(t *testing.T) {
		// The third packet is lost, and so is the first repetition of what it said. RFC 7016 §3.6.2.5.
		c := newChart(t)
		s := c.p.open(c.p.a, "loss", nil)
		times := 0
		c.lose(c.p.a, func(_ uint64, payload []byte) (lost bool) {
			eachData(t, payload, func(d *wire.FlowData) {
				if d.Seq == 2 {
					times++
					lost = times <= 2
				}
			})
			return lost
		})
		for i := range 8 {
			c.send(s, 100+i)
			c.run(2 * ms)
		}
		c.run(100 * ms)
		_ = s.Close(over)
		c.run(200 * ms)
		c.settled()
		c.compare("chart-loss")
	})
	t.Run("chart-abandon", func(t *testing.T) {
		// Lost and given up: the receiver is led past the gap at once. RFC 7016 §3.6.2.7.
		c := newChart(t)
		s := c.p.open(c.p.a, "abandon", nil)
		c.lose(c.p.a, func(_ uint64, payload []byte) (lost bool) {
			eachData(t, payload, func(d *wire.FlowData) { lost = lost || d.Seq == 2 || d.Seq == 3 && d.Offset > 0 })
			return lost
		})
		var victims []*Receipt
		for i := range 6 {
			n := 100 + i
			if i == 3 {
				n = 2000
			}
			r := c.send(s, n)
			if i == 2 || i == 3 {
				victims = append(victims, r)
			}
			c.run(2 * ms)
		}
		c.note("two messages are withdrawn, of which one has arrived in part and the other not at all")
		for _, r := range victims {
			r.Abandon()
		}
		c.run(100 * ms)
		c.note("one of which nothing has been sent, and one that may not be repeated and is lost")
		unsent, _ := s.TrySend(pattern(50, 9))
		c.receipts, c.told = append(c.receipts, unsent), append(c.told, Pending)
		unsent.Abandon()
		c.lose(c.p.a, func(_ uint64, payload []byte) (lost bool) {
			eachData(t, payload, func(d *wire.FlowData) { lost = lost || d.Seq == 7 })
			return lost
		})
		c.send(s, 60, Transmits(1))
		for range 4 {
			c.send(s, 70)
		}
		c.run(200 * ms)
		_ = s.Close(over)
		c.run(200 * ms)
		c.settled()
		c.compare("chart-abandon")
	})
	t.Run("chart-close", func(t *testing.T) {
		// The end overtakes what it is the end of; then its repetitions, until it is acknowledged. RFC 7016 §3.6.2.11.
		c := newChart(t)
		s := c.p.open(c.p.a, "close", nil)
		c.send(s, 10)
		c.run(50 * ms)
		n := 0
		c.lose(c.p.a, func(uint64, []byte) bool { n++; return n == 1 })
		c.send(s, 20)
		_ = s.Close(over)
		c.p.flush(c.p.a)
		c.run(30 * ms)
		c.note("the next two acknowledgements are lost")
		k := 0
		c.lose(c.p.b, func(uint64, []byte) bool { k++; return k <= 2 })
		c.run(500 * ms)
		c.settled()
		c.compare("chart-close")
	})
	t.Run("chart-reject", func(t *testing.T) {
		// RFC 7016 §3.6.3.7.
		c := newChart(t)
		s := c.p.open(c.p.a, "reject", nil)
		c.send(s, 10)
		c.run(30 * ms)
		c.send(s, 20)
		c.note("b rejects it, and the first time this is lost")
		k := 0
		c.lose(c.p.b, func(uint64, []byte) bool { k++; return k == 1 })
		c.in.Reject(77)
		c.p.flush(c.p.b)
		c.run(2 * ms)
		c.send(s, 30)
		c.run(300 * ms)
		if _, err := s.TrySend(nil); !errors.As(err, new(*RejectedError)) {
			t.Errorf("TrySend: %v, want a RejectedError", err)
		}
		c.settled()
		c.compare("chart-reject")
	})
}
