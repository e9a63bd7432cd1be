// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package congestion

import (
	"testing"
	"time"
)

// cruising returns a weir that cruises on the home link, with the simulation around it.
func cruising(t *testing.T) (*sim, *weir) {
	t.Helper()
	s := newSim(1, homeLink())
	f := s.add(NewWeir(simPacket), senderOptions{})
	s.run(2 * time.Second)
	c := f.cc.(*weir)
	if c.phase != weirCruise {
		t.Fatalf("after two seconds: %s, want cruise", c.phase)
	}
	return s, c
}

func TestWeirState(t *testing.T) {
	_, c := cruising(t)
	st := c.State()
	if st.Name != "weir" || st.Phase != "cruise" || st.Window != c.Window() || st.PacingRate != c.PacingRate() {
		t.Errorf("state %+v", st)
	}
	if mbps := st.Bandwidth * 8 / 1e6; mbps < 19.5 || mbps > 20.5 {
		t.Errorf("bandwidth %.2f Mbit/s, want the link's 20", mbps)
	}
	if st.QueueDelay > 15*ms {
		t.Errorf("queueing delay %v, want less than 15 ms", st.QueueDelay)
	}
	if st.PacingRate < 2e6 || st.PacingRate > 4e6 {
		t.Errorf("pacing rate %.0f bytes per second, want a little above 2.5 million", st.PacingRate)
	}
	c.SetDemand(epoch.Add(3*time.Second), Demand{Yield: true})
	if got := c.State().Phase; got != "yield" {
		t.Errorf("phase %q when asked to yield", got)
	}
	c.SetDemand(epoch.Add(3*time.Second), Demand{Yield: true, TimeCritical: true})
	if got := c.State().Phase; got != "cruise" {
		t.Errorf("phase %q with time-critical data of our own, which need not yield", got)
	}
}

// TestWeirEasing: a window made much smaller stops sending at no time.
func TestWeirEasing(t *testing.T) {
	_, c := cruising(t)
	before := c.Window()
	now := epoch.Add(2 * time.Second)
	c.cut(now, float64(before)/4, float64(before), 30*ms)
	inFlight := before
	sent := 0
	for i := 0; inFlight > before/4 && i < 1000; i++ {
		inFlight -= 2 * simPacket
		c.HandleAck(now, &Ack{
			Bytes: 2 * simPacket, Packets: 2, Largest: c.next - 1, SentAt: now, RTT: 60 * ms, SmoothedRTT: 60 * ms,
			InFlight: inFlight, PriorInFlight: inFlight + 2*simPacket,
		})
		for inFlight+simPacket <= c.Window() {
			c.HandleSent(now, c.next, simPacket, inFlight)
			inFlight += simPacket
			sent++
		}
	}
	if want := before / 2 / simPacket / 2; sent < want {
		t.Errorf("%d packets sent while %d bytes in flight ran down to a quarter, want at least %d", sent, before, want)
	}
}

// TestWeirExcess: loss well above the usual makes the window smaller, and larger again if it was none.
func TestWeirExcess(t *testing.T) {
	_, c := cruising(t)
	now := epoch.Add(2 * time.Second)
	before := c.Window()
	c.loss.discard()
	c.HandleLoss(now, &Loss{Packets: 60, Bytes: 60 * simPacket, SentAt: now.Add(-time.Millisecond)})
	c.cruise.cutting, c.ease = cutNone, 0
	c.HandleAck(now, &Ack{Bytes: 150 * simPacket, Packets: 150, Largest: c.next, SentAt: now, Limited: true, PriorInFlight: before})
	if got := c.window; got > 0.8*float64(before) {
		t.Fatalf("window %.0f after losing 60 of 210 packets, want less than 0.8 of %d", got, before)
	}
	c.HandleSpurious(now.Add(time.Millisecond), now.Add(-time.Millisecond))
	if got := c.Window(); got < before {
		t.Errorf("window %d after the losses turned out to be none, want %d", got, before)
	}
}

func TestWeirPersistentCongestion(t *testing.T) {
	_, c := cruising(t)
	c.SetDemand(epoch, Demand{TimeCritical: true})
	c.HandlePersistentCongestion(epoch.Add(3 * time.Second))
	if c.Window() != 2*simPacket || c.phase != weirStartup || !c.demand.TimeCritical {
		t.Errorf("window %d, %s; want two packets, startup, and the demand kept", c.Window(), c.phase)
	}
}

// TestWeirOutage: after an outage and persistent congestion the path is used again at once.
func TestWeirOutage(t *testing.T) {
	s, _ := cruising(t)
	f := s.senders[0]
	s.link.loss = 1
	s.run(6 * time.Second)
	f.cc.HandlePersistentCongestion(s.time())
	s.link.loss = 0
	s.run(12 * time.Second)
	atLeast(t, "Mbit/s after the outage", f.mbps(10*time.Second, 12*time.Second), 18.5)
}

// TestWeirWithoutSamples: a caller that has no samples of the rate of delivery is served too.
func TestWeirWithoutSamples(t *testing.T) {
	s := newSim(1, homeLink())
	f := s.add(sampleless{NewWeir(simPacket)}, senderOptions{})
	s.run(10 * time.Second)
	atLeast(t, "on the wire, of the link", s.wire(20e6), 0.93)
	atMost(t, "queueing delay in steady state", s.link.queueDelay(0.95, 2*time.Second, s.now), 15*ms)
	atMost(t, "packets lost", f.lostN, 0)
}

type sampleless struct{ Controller }

func (c sampleless) HandleAck(now time.Time, a *Ack) {
	b := *a
	b.Rate = RateSample{}
	c.Controller.HandleAck(now, &b)
}

func TestBaseDelay(t *testing.T) {
	var b baseDelay
	b.add(epoch, 50*ms, false)
	b.add(epoch.Add(time.Second), 40*ms, false)
	b.add(epoch.Add(11*time.Second), 70*ms, false)
	if got := b.least(); got != 40*ms {
		t.Errorf("after 11 s: %v, want 40 ms still", got)
	}
	b.add(epoch.Add(22*time.Second), 60*ms, false)
	b.add(epoch.Add(23*time.Second), 65*ms, false)
	if got := b.least(); got != 60*ms {
		t.Errorf("after 23 s: %v, want 60 ms: the older ones have expired", got)
	}
	b.add(epoch.Add(60*time.Second), 90*ms, true)
	if got := b.least(); got != 60*ms {
		t.Errorf("after 60 s, competing since: %v, want 60 ms", got)
	}
}

// TestAckSqueeze: acknowledgements released together show how long the first of them waited; a queue that empties
// does not look like that.
func TestAckSqueeze(t *testing.T) {
	var s ackSqueeze
	for round := range 20 {
		release := epoch.Add(time.Duration(round) * 20 * ms)
		for i := range 10 {
			s.add(release, 60*ms-time.Duration(i)*2*ms)
		}
		s.endRound()
	}
	if s.typical < 15*ms || s.typical > 18*ms {
		t.Errorf("typical wait %v, want 18 ms nearly", s.typical)
	}
	s = ackSqueeze{}
	for i := range 40 {
		s.add(epoch.Add(time.Duration(i)*ms), 80*ms-time.Duration(i)*ms)
	}
	s.endRound()
	if s.typical > 0 {
		t.Errorf("typical wait %v where a queue emptied, want none", s.typical)
	}
}

func TestLossMeter(t *testing.T) {
	var m lossMeter
	read := func(lost, acked int) bool {
		m.lost, m.acked = lost, acked
		_, excess := m.endRound()
		return excess
	}
	for i := range 10 {
		if read(10+i%3, 190) {
			t.Fatal("5 % of loss from the start taken for congestion")
		}
	}
	if !read(40, 160) {
		t.Error("20 % after 5 % not taken for congestion")
	}
	if read(3, 5) {
		t.Error("three lost of eight taken for congestion")
	}
	m = lossMeter{}
	read(0, 200)
	if !read(16, 184) {
		t.Error("8 % after none not taken for congestion")
	}
}
