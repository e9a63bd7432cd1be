// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/udp"
	"github.com/seed-98f0d4c2/runnel/mobility"
	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/peer/peertest"
)

// A tally is what a host sends while its session is idle.
type tally struct {
	session int // packets of the session, direct or through the relay
	standby int // of them, those that do not go to the peer itself
	upkeep  int // what the endpoint asks STUN servers and relays, which does not depend on how many sessions there are
	silence map[netip.AddrPort]time.Duration
	last    map[netip.AddrPort]time.Time
}

// An idleRig is a session that nobody uses.
type idleRig struct {
	t     *testing.T
	net   *peertest.Network
	hosts [2]*peertest.Host
	eps   [2]*peer.Endpoint
	ends  [2]*peer.Session // the first dials

	mu  sync.Mutex
	out [2]tally
}

// newIdleRig establishes a session behind NATs that forget after life, and leaves it alone for a minute.
func newIdleRig(t *testing.T, symmetric bool, life time.Duration, configs ...*peer.Config) *idleRig {
	t.Helper()
	r := &idleRig{t: t, net: peertest.New(t, &peertest.Config{OneWay: moveRTT / 4})}
	nat := peertest.NATConfig{Filtering: peertest.AddressAndPortDependent, Lifetime: life}
	if symmetric {
		nat.Mapping, nat.Ports = peertest.AddressAndPortDependent, peertest.Random
	}
	for i := range r.hosts {
		r.hosts[i] = r.net.HostAt(peertest.Site{NATConfig: &nat})
		var cfg *peer.Config
		if i < len(configs) {
			cfg = configs[i]
		}
		r.eps[i] = r.hosts[i].Endpoint(cfg)
	}
	time.Sleep(time.Second)
	r.ends[0], r.ends[1] = meet(t, r.eps[0], r.eps[1])
	time.Sleep(time.Minute)
	t.Cleanup(r.net.Tap(r.count))
	return r
}

func (r *idleRig) count(p peertest.Packet) peertest.Verdict {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, h := range r.hosts {
		if p.From.Addr() != h.Addr() {
			continue
		}
		o := &r.out[i]
		const sendIndication = 0x16
		if udp.Classify(p.Payload) == udp.STUN && p.Payload[1] != sendIndication {
			o.upkeep++
		} else {
			o.session++
			if p.To.Addr() != r.hosts[1-i].Addr() {
				o.standby++
			}
		}
		now := time.Now()
		if last, ok := o.last[p.To]; ok {
			o.silence[p.To] = max(o.silence[p.To], now.Sub(last))
		}
		if o.last == nil {
			o.last, o.silence = make(map[netip.AddrPort]time.Time), make(map[netip.AddrPort]time.Duration)
		}
		o.last[p.To] = now
	}
	return peertest.Pass
}

// idle lets time pass and returns what was sent meanwhile.
func (r *idleRig) idle(d time.Duration) [2]tally {
	r.mu.Lock()
	r.out = [2]tally{}
	r.mu.Unlock()
	time.Sleep(d)
	return r.sent()
}

// sent returns what has been sent since idle was called.
func (r *idleRig) sent() [2]tally {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.out
	for i := range out {
		out[i].silence, out[i].last = maps.Clone(out[i].silence), maps.Clone(out[i].last)
	}
	return out
}

// firstMessage measures how long a message takes from one end to the other.
func (r *idleRig) firstMessage(from int) time.Duration {
	r.t.Helper()
	at := make(chan time.Time, 1)
	go func() {
		in, err := r.ends[1-from].AcceptFlow(r.t.Context())
		if err == nil {
			if m, err := in.Recv(r.t.Context()); err == nil {
				at <- time.Now()
				m.Release()
			}
		}
	}()
	out, err := r.ends[from].OpenFlow("first", nil)
	if err != nil {
		r.t.Fatal(err)
	}
	start := time.Now()
	if _, err := out.Send(r.t.Context(), []byte("hello")); err != nil {
		r.t.Fatal(err)
	}
	select {
	case got := <-at:
		return got.Sub(start)
	case <-time.After(time.Minute):
		r.t.Fatal("the first message after silence did not arrive in a minute")
		return 0
	}
}

// An idle session costs little, is not forgotten by NATs that remember for 20 s, and the first message is there at once.
func TestIdleSessions(t *testing.T) {
	lives := []time.Duration{20 * time.Second, 30 * time.Second}
	if testing.Short() {
		lives = lives[:1]
	}
	for _, symmetric := range []bool{false, true} {
		for _, life := range lives {
			for first := range 2 {
				t.Run(fmt.Sprintf("relayed=%v/nat=%v/first=%d", symmetric, life, first), func(t *testing.T) {
					bubble(t, func(t *testing.T) { idleSession(t, symmetric, life, first) })
				})
			}
		}
	}
}

func idleSession(t *testing.T, symmetric bool, life time.Duration, first int) {
	r := newIdleRig(t, symmetric, life)
	kind := mobility.Direct
	if symmetric {
		kind = mobility.Relayed
	}
	before := [2]peer.Stats{r.ends[0].Stats(), r.ends[1].Stats()}
	const minutes = 30
	sent := r.idle(minutes * time.Minute)
	for i, o := range sent {
		st := r.ends[i].Stats()
		if st.Path.Kind != kind {
			t.Fatalf("end %d sends by %+v, want a %v path", i, st.Path, kind)
		}
		if o.session > minutes*4 {
			t.Errorf("end %d sent %d packets in %d idle minutes, want one in 15 s at most: %d", i, o.session, minutes, minutes*4)
		}
		if st.Stalls != 0 || st.PathChanges != before[i].PathChanges {
			t.Errorf("end %d: %d stalls and %d path changes, want none", i, st.Stalls, st.PathChanges-before[i].PathChanges)
		}
		if most := minutes * 5; !symmetric && o.upkeep > most {
			t.Errorf("end %d asked STUN servers and the relay %d times, want %d at most where a NAT has one mapping for all", i, o.upkeep, most)
		}
		t.Logf("end %d: %d packets, and %d of the endpoint, silences %v", i, o.session, o.upkeep, o.silence)
	}
	for i, s := range sent {
		watched := []netip.AddrPort{}
		for to := range s.last {
			if !symmetric && to.Addr() == r.hosts[1-i].Addr() || to == r.net.Relay() {
				watched = append(watched, to)
			}
		}
		if len(watched) == 0 {
			t.Errorf("end %d sent nothing", i)
		}
		for _, to := range watched {
			if s.silence[to] > 18*time.Second {
				t.Errorf("end %d sent nothing to %v for %v: a NAT may forget after 20 s", i, to, s.silence[to])
			}
		}
	}
	for _, from := range []int{first, 1 - first} {
		r.idle(0)
		if took := r.firstMessage(from); took > moveRTT/2+5*time.Millisecond {
			t.Errorf("the first message of end %d after silence took %v, want half a round trip", from, took)
		}
		if o := r.sent(); !symmetric && from == first && o[from].standby == 0 {
			t.Error("the first message after silence does not cause standby paths to be checked")
		}
	}
}

// In battery mode a session and its endpoint learn how long the NATs remember, and are silent for so long.
func TestBattery(t *testing.T) {
	for _, tt := range []struct {
		life            time.Duration
		symmetric       bool
		session, upkeep int // packets of one end in an hour, at most
	}{
		{65 * time.Second, false, 180, 130},
		{65 * time.Second, true, 240, 560}, // nothing is risked
		{10 * time.Minute, false, 50, 80},
	} {
		t.Run(fmt.Sprintf("nat=%v/relayed=%v", tt.life, tt.symmetric), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newIdleRig(t, tt.symmetric, tt.life)
				for _, e := range r.eps {
					e.SetBattery(true)
				}
				time.Sleep(30 * time.Minute) // it learns
				sent := r.idle(time.Hour)
				for i, o := range sent {
					st := r.ends[i].Stats()
					t.Logf("end %d: %d packets an hour, and %d of the endpoint; %d stalls", i, o.session, o.upkeep, st.Stalls)
					if o.session > tt.session || o.upkeep > tt.upkeep {
						t.Errorf("end %d: %d packets, and %d of the endpoint, in an hour; want %d and %d at most", i, o.session, o.upkeep, tt.session, tt.upkeep)
					}
					if err := r.ends[i].Err(); err != nil {
						t.Fatalf("end %d: %v", i, err)
					}
				}
				for _, e := range r.eps {
					e.SetBattery(false)
				}
				time.Sleep(time.Minute)
				sent = r.idle(10 * time.Minute)
				for i, o := range sent {
					for to, d := range o.silence {
						if d > 18*time.Second && to == r.net.Relay() {
							t.Errorf("end %d sent nothing to %v for %v though battery mode is off", i, to, d)
						}
					}
					if took := r.firstMessage(i); took > moveRTT/2+5*time.Millisecond {
						t.Errorf("the first message of end %d took %v, want half a round trip", i, took)
					}
				}
			})
		})
	}
}

// A peer that is gone is missed in battery mode too, only later.
func TestBatteryMissesThePeer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newIdleRig(t, false, 10*time.Minute)
		for _, e := range r.eps {
			e.SetBattery(true)
		}
		time.Sleep(time.Hour)
		r.hosts[1].SetOffline(true)
		start := time.Now()
		<-r.ends[0].Done()
		if took := time.Since(start); !errors.Is(r.ends[0].Err(), peer.ErrIdle) || took < 2*time.Minute || took > 8*time.Minute {
			t.Errorf("ended with %v after %v, want ErrIdle 2 min after the first ping, which is sent in 6 min at most", r.ends[0].Err(), took)
		}
	})
}
