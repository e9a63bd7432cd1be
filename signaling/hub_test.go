// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package signaling

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var idA, idB = IDFromKey(testKey(1)), IDFromKey(testKey(2))

func TestHubDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const delay = 30 * time.Millisecond
		h := NewHub(&HubConfig{Delay: delay})
		a, b := h.Join(idA), h.Join(idB)
		start := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() {
			e, err := b.Recv(t.Context())
			if err != nil || string(e.Payload) != "hi" || e.From != idA || e.To != idB {
				t.Errorf("Recv = %+v, %v; want the envelope", e, err)
			}
			if got := time.Since(start); got != 2*delay {
				t.Errorf("it took %v, want two hops", got)
			}
		})
		payload := []byte("hi")
		if err := a.Send(t.Context(), idB, payload); err != nil {
			t.Error(err)
		}
		if got := time.Since(start); got != 2*delay {
			t.Errorf("Send took %v, want one round trip", got)
		}
		wg.Wait()
		if err := a.Send(t.Context(), IDFromKey(testKey(3)), nil); !errors.Is(err, ErrNotFound) {
			t.Errorf("to nobody: error %v, want ErrNotFound", err)
		}
		if got := time.Since(start); got != 4*delay {
			t.Errorf("not found took %v, want one round trip", got-2*delay)
		}
	})
}

func TestHubOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub(&HubConfig{Delay: time.Second})
		a, b := h.Join(idA), h.Join(idB)
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * time.Millisecond)
				if err := a.Send(t.Context(), idB, []byte{byte(i)}); err != nil {
					t.Error(err)
				}
			})
		}
		for range 2 { // concurrent receivers must not lose the news of each other
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			wg.Go(func() {
				defer cancel()
				if _, err := b.Recv(ctx); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("nothing can have arrived, Recv: error %v", err)
				}
			})
		}
		for i := range 20 {
			e, err := b.Recv(t.Context())
			if err != nil || e.Payload[0] != byte(i) {
				t.Fatalf("envelope %d: %v, %v", i, e.Payload, err)
			}
		}
		wg.Wait()
	})
}

func TestHubReplacesAndCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h Hub // the zero value works
		old := h.Join(idA)
		waiting := make(chan error)
		go func() {
			_, err := old.Recv(t.Context())
			waiting <- err
		}()
		synctest.Wait()
		a := h.Join(idA)
		if err := <-waiting; !errors.Is(err, ErrReplaced) {
			t.Errorf("Recv of the older: error %v, want ErrReplaced", err)
		}
		if err := old.Send(t.Context(), idA, nil); !errors.Is(err, ErrReplaced) {
			t.Errorf("Send of the older: error %v, want ErrReplaced", err)
		}
		old.Close()
		if !h.Online(idA) {
			t.Error("closing the older removed the newer")
		}
		if err := a.Close(); err != nil || h.Online(idA) {
			t.Errorf("Close: %v; online %v, want offline", err, h.Online(idA))
		}
		if _, err := a.Recv(t.Context()); !errors.Is(err, ErrClosed) || !errors.Is(err, net.ErrClosed) {
			t.Errorf("Recv after Close: error %v, want ErrClosed and net.ErrClosed", err)
		}
		if _, err := a.Services(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("Services after Close: error %v, want ErrClosed", err)
		}
	})
}

func TestHubOutage(t *testing.T) {
	for _, tt := range []struct {
		name string
		set  func(h *Hub, down bool)
	}{
		{"hub", (*Hub).SetDown},
		{"sender", func(h *Hub, down bool) { h.SetAway(idA, down) }},
		{"receiver", func(h *Hub, down bool) { h.SetAway(idB, down) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const delay, outage = 10 * time.Millisecond, time.Minute
				h := NewHub(&HubConfig{Delay: delay})
				tt.set(h, true) // also before they join
				a, b := h.Join(idA), h.Join(idB)
				start := time.Now()
				var wg sync.WaitGroup
				wg.Go(func() {
					_, err := b.Recv(t.Context())
					if d := time.Since(start); err != nil || d < outage || d > outage+delay {
						t.Errorf("Recv: %v after %v, want the envelope after the outage", err, d)
					}
				})
				wg.Go(func() {
					if err := a.Send(t.Context(), idB, []byte("hi")); err != nil {
						t.Errorf("Send: %v", err)
					}
					want := outage + delay
					if tt.name == "receiver" {
						want = 2 * delay
					}
					if d := time.Since(start); d != want {
						t.Errorf("Send took %v, want %v", d, want)
					}
				})
				time.Sleep(outage)
				if !h.Online(idA) || !h.Online(idB) {
					t.Error("an outage removed a member")
				}
				tt.set(h, false)
				wg.Wait()

				tt.set(h, true)
				if tt.name != "receiver" {
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					defer cancel()
					if err := a.Send(ctx, idB, nil); !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("Send in an outage: error %v, want that of the context", err)
					}
				}
				go func() {
					time.Sleep(time.Second)
					a.Close()
				}()
				if tt.name != "receiver" {
					if err := a.Send(t.Context(), idB, nil); !errors.Is(err, ErrClosed) {
						t.Errorf("Send of an end that is closed in an outage: error %v, want ErrClosed", err)
					}
				}
				synctest.Wait()
				time.Sleep(2 * time.Second)
			})
		})
	}
}

func TestHubIsBounded(t *testing.T) {
	h := NewHub(nil)
	a := h.Join(idA)
	h.Join(idB)
	for i := range hubQueue {
		if err := a.Send(t.Context(), idB, nil); err != nil {
			t.Fatalf("envelope %d: %v", i, err)
		}
	}
	if err := a.Send(t.Context(), idB, nil); !errors.Is(err, ErrBusy) {
		t.Errorf("one more: error %v, want ErrBusy", err)
	}
	if err := a.Send(t.Context(), idB, make([]byte, MaxPayload+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too large: error %v, want ErrTooLarge", err)
	}
}

func TestHubServices(t *testing.T) {
	h := NewHub(nil)
	a := h.Join(idA)
	if s, err := a.Services(t.Context()); err != nil || len(s.Relays) != 0 {
		t.Errorf("before SetServices: %+v, %v; want none", s, err)
	}
	h.SetServices(Services{Relays: []Relay{{URL: "turn:relay.example"}}})
	s, err := a.Services(t.Context())
	if err != nil || len(s.Relays) != 1 {
		t.Fatalf("%+v, %v; want the relay", s, err)
	}
	s.Relays[0].URL = "spoiled"
	if again, _ := a.Services(t.Context()); again.Relays[0].URL != "turn:relay.example" {
		t.Error("members share the memory of their services")
	}
}
