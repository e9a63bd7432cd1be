// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package dtlsx

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestTwoRoundTrips(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const oneWay = 30 * time.Millisecond // below half the flight interval: nothing is sent twice
		begin := time.Now()
		p := start(t, &link{delay: oneWay}, &link{delay: oneWay})
		p.wantSuccess(t)
		if got := time.Since(begin); got != 4*oneWay {
			t.Errorf("handshake took %v, want two round trips: %v", got, 4*oneWay)
		}
		if u, d := p.up.count(), p.down.count(); u != 2 || d != 2 {
			t.Errorf("%d datagrams up and %d down, want 2 each", u, d)
		}
		ids := identities()
		if got := p.client.RemoteFingerprint(); got != ids[1].Fingerprint() {
			t.Errorf("client saw certificate %x, want the server's", got)
		}
		if got := p.server.RemoteFingerprint(); got != ids[0].Fingerprint() {
			t.Errorf("server saw certificate %x, want the client's", got)
		}
	})
}

func TestLongDelay(t *testing.T) {
	bubble(t, func(t *testing.T) {
		begin := time.Now()
		p := start(t, &link{delay: 400 * time.Millisecond}, &link{delay: 400 * time.Millisecond})
		p.wantSuccess(t)
		if got := time.Since(begin); got != 1600*time.Millisecond {
			t.Errorf("handshake took %v, want 1.6s: flights repeated too early must do no harm", got)
		}
	})
}

func TestSecretsAreFresh(t *testing.T) {
	bubble(t, func(t *testing.T) {
		seen := make(map[[32]byte]bool)
		for range 5 {
			p := start(t, &link{}, &link{})
			p.wantSuccess(t)
			if seen[p.client.Exporter()] {
				t.Fatal("two handshakes gave the same secret")
			}
			seen[p.client.Exporter()] = true
		}
	})
}

func TestThirtyPercentLoss(t *testing.T) {
	var worst time.Duration
	for seed := range uint64(40) {
		bubble(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 0))
			lossy := func(b []byte) [][]byte {
				if rng.Float64() < 0.3 {
					return nil
				}
				return [][]byte{b}
			}
			begin := time.Now()
			// Each direction is used by one goroutine at a time, but both share the generator.
			up := &link{delay: 20 * time.Millisecond, route: lossy}
			down := &link{delay: 20 * time.Millisecond}
			down.route = func(b []byte) [][]byte {
				up.mu.Lock()
				defer up.mu.Unlock()
				return lossy(b)
			}
			p := start(t, up, down)
			p.wantSuccess(t)
			worst = max(worst, time.Since(begin))
		})
	}
	t.Logf("40 handshakes at 30 %% loss, RTT 40ms: the slowest took %v", worst)
	if worst > 3*time.Second {
		t.Errorf("slowest handshake took %v, want well under 3s at a flight interval of 80ms", worst)
	}
}

// TestReordered splits every datagram into its records and shuffles them. Nothing is lost, so nothing may have to be
// sent twice: in particular not because encrypted records came before the keys.
func TestReordered(t *testing.T) {
	for seed := range uint64(30) {
		bubble(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			shuffle := func(b []byte) [][]byte {
				rs := records(b)
				rng.Shuffle(len(rs), func(i, j int) { rs[i], rs[j] = rs[j], rs[i] })
				var out [][]byte
				for _, r := range rs {
					out = append(out, r)
				}
				return out
			}
			begin := time.Now()
			p := start(t, &link{delay: time.Millisecond, route: shuffle},
				&link{delay: time.Millisecond, route: func(b []byte) [][]byte {
					rs := records(b)
					out := make([][]byte, 0, len(rs))
					for i := range rs { // the generator belongs to the other direction: reverse
						out = append(out, rs[len(rs)-1-i])
					}
					return out
				}})
			p.wantSuccess(t)
			if got := time.Since(begin); got != 4*time.Millisecond {
				t.Errorf("seed %d: handshake took %v, want 4ms", seed, got)
			}
		})
	}
}

func TestDuplicated(t *testing.T) {
	bubble(t, func(t *testing.T) {
		twice := func(b []byte) [][]byte { return [][]byte{b, b, b} }
		p := start(t, &link{delay: time.Millisecond, route: twice}, &link{delay: time.Millisecond, route: twice})
		p.wantSuccess(t)
	})
}

// TestOldFlightsAgain replays everything that was ever sent with every new datagram.
func TestOldFlightsAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		again := func() func(b []byte) [][]byte {
			var all [][]byte
			return func(b []byte) [][]byte {
				all = append(all, b)
				return append(slices.Clone(all), all...)
			}
		}
		p := start(t, &link{delay: time.Millisecond, route: again()}, &link{delay: time.Millisecond, route: again()})
		p.wantSuccess(t)
	})
}

// TestDamaged truncates or flips bits of every datagram of a handshake, one at a time. Either the damage is repaired by
// a retransmission or the handshake fails; but never do two sides succeed with different secrets, and nothing panics.
func TestDamaged(t *testing.T) {
	for seed := range uint64(60) {
		bubble(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 2))
			victim, kind, n := int(seed%4), rng.IntN(2), 0
			damage := func(b []byte) [][]byte {
				if n++; n-1 != victim/2 {
					return [][]byte{b}
				}
				if kind == 0 {
					return [][]byte{b[:rng.IntN(len(b))]}
				}
				b[rng.IntN(len(b))] ^= 1 << rng.IntN(8)
				return [][]byte{b}
			}
			up, down := &link{delay: time.Millisecond}, &link{delay: time.Millisecond}
			if victim%2 == 0 {
				up.route = damage
			} else {
				down.route = damage
			}
			p := start(t, up, down)
			<-p.client.Done()
			<-p.server.Done()
			ce, se := p.client.Err(), p.server.Err()
			if ce == nil && se == nil && p.client.Exporter() != p.server.Exporter() {
				t.Errorf("seed %d: both succeeded with different secrets", seed)
			}
			if kind == 0 && (ce != nil || se != nil) {
				t.Errorf("seed %d: truncation must cost a retransmission only: client %v, server %v", seed, ce, se)
			}
		})
	}
}

func TestWrongPin(t *testing.T) {
	other := identities()[2].Fingerprint()
	for _, who := range []string{"client", "server"} {
		t.Run(who, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				p := start(t, &link{delay: time.Millisecond}, &link{delay: time.Millisecond}, func(c, s *Config) {
					if who == "client" {
						c.RemoteFingerprint = other
					} else {
						s.RemoteFingerprint = other
					}
				})
				strict, loose := p.client, p.server
				if who == "server" {
					strict, loose = loose, strict
				}
				begin := time.Now()
				<-strict.Done()
				if err := strict.Err(); !errors.Is(err, ErrFingerprint) || !errors.Is(err, ErrHandshake) {
					t.Errorf("error %v, want ErrFingerprint in an ErrHandshake", err)
				}
				if time.Since(begin) > time.Second {
					t.Errorf("mismatch noticed after %v", time.Since(begin))
				}
				<-loose.Done() // hears nothing, and waits in vain
				if err := loose.Err(); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("other side: %v, want it to run into its deadline: alerts are not for strangers", err)
				}
				if strict.Exporter() != [32]byte{} || loose.Exporter() != [32]byte{} {
					t.Error("a failed handshake gave a secret away")
				}
			})
		})
	}
}

func TestNoFingerprint(t *testing.T) {
	bubble(t, func(t *testing.T) {
		write := func([]byte) { t.Error("Write was called") }
		id := identities()[0]
		tests := []struct {
			c    *Config
			want error
		}{
			{&Config{Identity: id, Write: write}, ErrNoFingerprint},
			{&Config{Identity: id, Client: true, Write: write}, ErrNoFingerprint},
			{&Config{Write: write, AnyFingerprint: true}, ErrConfig},
			{&Config{Identity: id, AnyFingerprint: true}, ErrConfig},
			{nil, ErrConfig},
		}
		for i, tt := range tests {
			h := Start(t.Context(), tt.c)
			<-h.Done()
			if err := h.Err(); !errors.Is(err, tt.want) {
				t.Errorf("%d: %v, want %v", i, err, tt.want)
			}
			h.Deliver([]byte{22})
			h.Close()
		}
	})
}

func TestAnyFingerprint(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := start(t, &link{}, &link{}, func(c, s *Config) {
			c.RemoteFingerprint, c.AnyFingerprint = [32]byte{}, true
			s.RemoteFingerprint, s.AnyFingerprint = [32]byte{}, true
		})
		p.wantSuccess(t)
		ids := identities()
		if p.client.RemoteFingerprint() != ids[1].Fingerprint() || p.server.RemoteFingerprint() != ids[0].Fingerprint() {
			t.Error("RemoteFingerprint does not tell who it was")
		}
		// A pin counts even when any would do.
		q := start(t, &link{}, &link{}, func(c, _ *Config) {
			c.AnyFingerprint, c.RemoteFingerprint = true, ids[2].Fingerprint()
		})
		<-q.client.Done()
		if err := q.client.Err(); !errors.Is(err, ErrFingerprint) {
			t.Errorf("%v, want ErrFingerprint", err)
		}
	})
}

func TestSilenceEndsWithContext(t *testing.T) {
	bubble(t, func(t *testing.T) {
		begin := time.Now()
		sent := 0
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		h := Start(ctx, &Config{
			Identity: identities()[0], Client: true, AnyFingerprint: true,
			Write: func([]byte) { sent++ }, FlightInterval: 100 * time.Millisecond,
		})
		defer h.Close()
		if h.Err() != nil || h.Exporter() != [32]byte{} {
			t.Error("a running handshake has neither an error nor a secret")
		}
		<-h.Done()
		if err := h.Err(); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v, want the context's error", err)
		}
		if d := time.Since(begin); d != 3*time.Second {
			t.Errorf("ended after %v, want 3s", d)
		}
		if sent < 25 || sent > 31 {
			t.Errorf("sent the first flight %d times in 3s, want about 30", sent)
		}
	})
}

func TestCloseAnytime(t *testing.T) {
	for at := range 60 { // milliseconds; the handshake takes 40
		bubble(t, func(t *testing.T) {
			p := start(t, &link{delay: 10 * time.Millisecond}, &link{delay: 10 * time.Millisecond},
				func(c, s *Config) { s.FlightInterval = 10 * time.Millisecond })
			time.Sleep(time.Duration(at) * time.Millisecond)
			synctest.Wait()
			up, down := p.up.count(), p.down.count()
			begin := time.Now()
			p.client.Close()
			p.server.Close()
			if d := time.Since(begin); d > 80*time.Millisecond {
				t.Errorf("Close at %dms took %v, want at most a flight interval", at, d)
			}
			done := p.client.Err()
			if at < 40 && !errors.Is(done, ErrClosed) || at >= 40 && done != nil {
				t.Errorf("Close at %dms: client's error is %v", at, done)
			}
			time.Sleep(10 * time.Second)
			p.client.Deliver([]byte{22, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1})
			if u, d := p.up.count(), p.down.count(); u != up || d != down {
				t.Errorf("Close at %dms: %d and %d datagrams were sent afterwards", at, u-up, d-down)
			}
			p.client.Close() // again
		})
	}
}

// TestLastFlightLost loses the server's last flight again and again: the server has finished and must repeat it.
func TestLastFlightLost(t *testing.T) {
	for _, losses := range []int{1, 5, 20} {
		t.Run(fmt.Sprintf("losses=%d", losses), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				lost := 0
				down := &link{delay: 10 * time.Millisecond}
				down.route = func(b []byte) [][]byte {
					if b[0] == typeChangeCipherSpec && lost < losses {
						lost++
						return nil
					}
					return [][]byte{b}
				}
				p := start(t, &link{delay: 10 * time.Millisecond}, down)
				p.wantSuccess(t)
			})
		})
	}
}

func TestLingerIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var flight5 []byte
		up := &link{delay: time.Millisecond}
		up.route = func(b []byte) [][]byte { flight5 = bytes.Clone(b); return [][]byte{b} }
		p := start(t, up, &link{delay: time.Millisecond})
		p.wantSuccess(t)
		before := p.down.count()
		for range 1000 {
			p.server.Deliver(flight5)
		}
		if got := p.down.count() - before; got != 1 {
			t.Errorf("%d answers to 1000 datagrams at once, want 1", got)
		}
		for range 1000 {
			time.Sleep(4 * time.Millisecond)
			p.server.Deliver(flight5)
		}
		if got := p.down.count() - before; got != lingerRepeats {
			t.Errorf("%d answers in 4 s, want no more than %d", got, lingerRepeats)
		}

		q := start(t, &link{}, &link{})
		q.wantSuccess(t)
		time.Sleep(lingerTime + time.Millisecond)
		before = q.down.count()
		q.server.Deliver(flight5)
		if got := q.down.count() - before; got != 0 {
			t.Errorf("an answer %v after the handshake, want silence", lingerTime)
		}
	})
}

func TestDatagramSize(t *testing.T) {
	bubble(t, func(t *testing.T) {
		biggest := 0
		watch := func(b []byte) [][]byte { biggest = max(biggest, len(b)); return [][]byte{b} }
		p := start(t, &link{route: watch}, &link{delay: time.Millisecond})
		p.wantSuccess(t)
		if biggest > mtu {
			t.Errorf("datagram of %d bytes, want at most %d", biggest, mtu)
		}
	})
}
