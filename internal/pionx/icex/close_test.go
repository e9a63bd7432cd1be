// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package icex_test

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/netlab"
	"github.com/seed-98f0d4c2/runnel/internal/pionx/icex"
)

// TestCloseAcross lets two agents close each other from their callbacks, which would deadlock if Close waited for them.
func TestCloseAcross(t *testing.T) {
	for _, event := range []string{"check", "selected"} {
		t.Run(event, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t, netlab.Config{OneWay: time.Millisecond})
				ea, _, _, sa := w.endpoint(netlab.Public)
				eb, _, _, sb := w.endpoint(netlab.Public)
				var agents [2]*icex.Agent
				gate, done := make(chan struct{}, 2), make(chan error, 8)
				closer := func(own, other int, when string) func(netip.AddrPort) {
					if when != event {
						return nil
					}
					return func(netip.AddrPort) {
						gate <- struct{}{}
						for len(gate) < 2 { // both are in their callback
							time.Sleep(time.Millisecond)
						}
						done <- agents[other].Close()
						done <- agents[own].Close()
					}
				}
				for i, e := range []*endpoint{ea, eb} {
					var err error
					agents[i], err = icex.NewAgent(&icex.Config{
						Mux: e.mux, Controlling: i == 0,
						OnCheck: closer(i, 1-i, "check"), OnSelected: closer(i, 1-i, "selected"),
					})
					if err != nil {
						t.Fatal(err)
					}
				}
				for i, to := range []netip.AddrPort{sb, sa} {
					if err := agents[i].AddRemote(to, "host"); err != nil {
						t.Fatal(err)
					}
					if err := agents[i].Start(agents[1-i].Credentials()); err != nil {
						t.Fatal(err)
					}
				}
				for range 4 {
					if err := <-done; err != nil {
						t.Error(err)
					}
				}
			})
		})
	}
}

// TestCloseAnytime closes agents at every moment of their life. What is left running would fail the bubble.
func TestCloseAnytime(t *testing.T) {
	for at := range 50 {
		bubble(t, func(t *testing.T) {
			w := newWorld(t, netlab.Config{OneWay: 2 * time.Millisecond})
			ea, _, _, sa := w.endpoint(netlab.Public)
			eb, _, _, sb := w.endpoint(netlab.Public)
			a, b := ea.agent(true), eb.agent(false)
			if at > 0 {
				a.add("host", sb)
				b.add("host", sa)
			}
			if at > 1 {
				a.start(b)
				b.start(a)
			}
			time.Sleep(time.Duration(at) * time.Millisecond)
			if err := errors.Join(a.Close(), b.Close(), a.Close()); err != nil {
				t.Errorf("Close after %d ms: %v", at, err)
			}
			na, nb := ea.sent.Load(), eb.sent.Load()
			calls := len(a.checks) + len(b.checks) + len(a.selected) + len(b.selected)
			time.Sleep(10 * time.Second)
			if ea.sent.Load() != na || eb.sent.Load() != nb {
				t.Errorf("packets were sent after Close after %d ms", at)
			}
			if n := len(a.checks) + len(b.checks) + len(a.selected) + len(b.selected); n != calls {
				t.Errorf("callbacks after Close after %d ms", at)
			}
		})
	}
}
