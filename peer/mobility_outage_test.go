// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"errors"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/mobility"
	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/peer/peertest"
)

// A network that is gone for a while, of which nobody tells the endpoint, costs no message and no more time than it was
// gone.
func TestOutage(t *testing.T) {
	outages := []time.Duration{5 * time.Second, 30 * time.Second, 110 * time.Second}
	if testing.Short() {
		outages = outages[:1]
	}
	const off = 150 * time.Millisecond // what is heard last, and first, has left a little before
	for _, outage := range outages {
		t.Run(outage.String(), func(t *testing.T) {
			eachPhase(t, func(t *testing.T, mover int, seed uint64) {
				r := newMobilityRig(t, &peertest.Config{Jitter: time.Millisecond, Seed: seed}, homes, mover)
				r.phase(seed)
				start := time.Now()
				r.hosts[0].SetOffline(true)
				time.Sleep(outage)
				if seed > 0 { // also where the NAT has restarted meanwhile
					r.hosts[0].Rebind()
				}
				r.hosts[0].SetOffline(false)
				r.wantDirectFor(time.Now(), 2*time.Second)
				r.wantGap(start, outage+moveRTT+250*time.Millisecond)
				for i := range 2 {
					r.wantEventsInOrder(i)
					stalls, resumes := eventsOf[peer.Stalled](r, i), eventsOf[peer.Resumed](r, i)
					if len(stalls) != 1 || len(resumes) != 1 {
						t.Errorf("end %d had the events %v and %v, want one of each", i, stalls, resumes)
						continue
					}
					if since := stalls[0].Since.Sub(start); since < -off || since > off || stalls[0].Why == "" {
						t.Errorf("end %d: %+v, want one that began with the outage, and a reason", i, stalls[0])
					}
					if d := resumes[0].Gap - outage; d < -off || d > 2*off {
						t.Errorf("end %d: resumed after %v, want %v", i, resumes[0].Gap, outage)
					}
					if st := r.ends[i].Stats(); st.Stalls != 1 || st.StalledFor != resumes[0].Gap {
						t.Errorf("end %d counts %d stalls of %v in all, want what the events say", i, st.Stalls, st.StalledFor)
					}
				}
				r.finish()
			})
		})
	}
}

// A peer that is gone for longer than Linger is given up, one that comes back before is not.
func TestLinger(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: moveRTT / 4})
		h := n.Host(peertest.PortRestricted)
		short, _ := meet(t, n.Endpoint(peertest.Public, &peer.Config{Linger: 20 * time.Second}), h.Endpoint(nil))
		ever, back := meet(t, n.Endpoint(peertest.Public, &peer.Config{Linger: -1}), h.Endpoint(&peer.Config{Linger: -1}))
		go echoSession(t.Context(), back)
		h.SetOffline(true)
		start := time.Now()
		<-short.Done()
		if took := time.Since(start); !errors.Is(short.Err(), peer.ErrIdle) || took > 20*time.Second || took < 3*time.Second {
			t.Errorf("ended with %v after %v, want ErrIdle after 20 s of silence", short.Err(), took)
		}
		time.Sleep(2 * time.Hour)
		h.SetOffline(false)
		start = time.Now()
		if err := say(t.Context(), ever, "hello"); err != nil {
			t.Fatalf("after two hours: %v", err)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("it took %v to go on after two hours", took)
		}
	})
}

// Both hosts are away, at different times that overlap, and come back elsewhere.
func TestBothAway(t *testing.T) {
	eachRole(t, func(t *testing.T, dialler int) {
		r := newMobilityRig(t, nil, homes, dialler)
		r.hosts[0].Detach()
		time.Sleep(10 * time.Second)
		r.hosts[1].Detach()
		time.Sleep(10 * time.Second)
		r.hosts[0].MoveTo(peertest.PortRestricted)
		time.Sleep(10 * time.Second)
		r.hosts[1].MoveTo(peertest.Symmetric)
		back := time.Now()
		time.Sleep(5 * time.Second)
		if gap := r.worst(back); gap > time.Second {
			t.Errorf("traffic went on %v after both had a network, want at most 1 s", gap)
		}
		t.Logf("gaps: %v and %v", r.gap(0, back), r.gap(1, back))
		r.finish()
	})
}

// The direct path dies for good: the relay carries on, and the direct path takes over again when it is back.
func TestFallBackToRelay(t *testing.T) {
	eachRole(t, func(t *testing.T, dialler int) {
		r := newMobilityRig(t, nil, homes, dialler)
		r.wantKind(mobility.Direct)
		a, b := r.hosts[0].Addr(), r.hosts[1].Addr()
		remove := r.net.Tap(func(p peertest.Packet) peertest.Verdict {
			if f, to := p.From.Addr(), p.To.Addr(); f == a && to == b || f == b && to == a {
				return peertest.Drop
			}
			return peertest.Pass
		})
		start := time.Now()
		time.Sleep(5 * time.Second)
		if gap := r.worst(start); gap > time.Second {
			t.Errorf("nothing arrived for %v, want at most 1 s", gap)
		}
		t.Logf("gaps: %v and %v", r.gap(0, start), r.gap(1, start))
		r.wantKind(mobility.Relayed)
		remove()
		back := time.Now()
		time.Sleep(30 * time.Second)
		if gap := r.worst(back); gap > 100*time.Millisecond {
			t.Errorf("nothing arrived for %v when the direct path took over", gap)
		}
		r.wantKind(mobility.Direct)
		r.finish()
	})
}
