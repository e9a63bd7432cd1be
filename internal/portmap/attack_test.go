// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package portmap

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// Answers that are not the router's to our question map nothing.
func TestForgeries(t *testing.T) {
	tests := map[string]func(a *answer){
		"another nonce": func(a *answer) {
			if len(a.b) == pcpMapLen {
				a.b[30] ^= 1
			}
		},
		"another host": func(a *answer) { a.from = netip.AddrPortFrom(netip.MustParseAddr("192.168.1.66"), a.from.Port()) },
		"another port": func(a *answer) { a.from = netip.AddrPortFrom(a.from.Addr(), 5350) },
		"another internal port": func(a *answer) {
			if len(a.b) == pcpMapLen {
				a.b[41] ^= 1
			}
		},
		"another protocol": func(a *answer) {
			if len(a.b) == pcpMapLen {
				a.b[36] = 6
			}
		},
		"a request":     func(a *answer) { a.b[1] &= 0x7f },
		"another op":    func(a *answer) { a.b[1] = 0x82 },
		"cut":           func(a *answer) { a.b = a.b[:len(a.b)-1] },
		"padded":        func(a *answer) { a.b = append(a.b, 0) },
		"too long":      func(a *answer) { a.b = append(a.b, make([]byte, 1200)...) },
		"empty":         func(a *answer) { a.b = nil },
		"too late":      func(a *answer) { a.after = 5 * time.Second },
		"no lifetime":   func(a *answer) { clear(a.b[4:8]) },
		"no port":       func(a *answer) { clear(a.b[42:44]) },
		"IPv6 for IPv4": func(a *answer) { a.b[44] = 0x20 },
	}
	for name, tamper := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLAN()
				r := newRouter(l)
				r.pcp, r.tamper = 0, tamper
				m := l.start(t, Config{})
				sleep(30 * time.Second)
				expect(t, m)
				l.set(func() { r.tamper = nil })
				m.NetworkChanged()
				sleep(2 * time.Second)
				expect(t, m, mapped) // so it was only the forgery
			})
		})
	}
}

// The same for NAT-PMP, which has no nonce.
func TestForgeriesPMP(t *testing.T) {
	tests := map[string]func(a *answer){
		"another host": func(a *answer) { a.from = netip.AddrPortFrom(netip.MustParseAddr("192.168.1.66"), a.from.Port()) },
		"another port": func(a *answer) { a.from = netip.AddrPortFrom(a.from.Addr(), 5350) },
		"another internal port": func(a *answer) {
			if len(a.b) == pmpMapLen {
				a.b[9] ^= 1
			}
		},
		"another version": func(a *answer) { a.b[0] = 1 },
		"cut":             func(a *answer) { a.b = a.b[:len(a.b)-1] },
		"no port": func(a *answer) {
			if len(a.b) == pmpMapLen {
				clear(a.b[10:12])
			}
		},
		"no lifetime": func(a *answer) {
			if len(a.b) == pmpMapLen {
				clear(a.b[12:16])
			}
		},
	}
	for name, tamper := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLAN()
				r := newRouter(l)
				r.pmp, r.tamper = 0, tamper
				m := l.start(t, Config{})
				sleep(30 * time.Second)
				expect(t, m)
				l.set(func() { r.tamper = nil })
				m.NetworkChanged()
				sleep(2 * time.Second)
				expect(t, m, mapped)
			})
		})
	}
}
