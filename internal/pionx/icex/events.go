// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package icex

import (
	"net/netip"
	"slices"
	"sync"
)

// maxEvents bounds the checks that wait to be reported.
const maxEvents = 32

// events reports what happens without holding up the library's loop, which calls check and selected. There is a
// goroutine only while there is something to report.
type events struct {
	onCheck, onSelected func(netip.AddrPort)

	mu      sync.Mutex
	closed  bool
	running bool
	checks  []netip.AddrPort // in order of arrival, each address once
	chosen  netip.AddrPort   // the latest; zero if it has been reported
}

func (e *events) check(from netip.AddrPort) {
	if e.onCheck == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	// An address that waits already stands for this check too; more addresses than fit are not news.
	if len(e.checks) < maxEvents && !slices.Contains(e.checks, from) {
		e.checks = append(e.checks, from)
	}
	e.run()
}

func (e *events) selected(remote netip.AddrPort) {
	if e.onSelected == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.chosen = remote
	e.run()
}

// run starts the goroutine if there is none. Called with mu held.
func (e *events) run() {
	if e.closed || e.running {
		return
	}
	e.running = true
	go e.report()
}

func (e *events) report() {
	for {
		e.mu.Lock()
		checks, chosen := e.checks, e.chosen
		e.checks, e.chosen = nil, netip.AddrPort{}
		if e.closed || len(checks) == 0 && !chosen.IsValid() {
			e.running = false
			e.mu.Unlock()
			return
		}
		e.mu.Unlock()
		for _, from := range checks {
			if e.isClosed() {
				break
			}
			e.onCheck(from)
		}
		if chosen.IsValid() && !e.isClosed() {
			e.onSelected(chosen)
		}
	}
}

func (e *events) isClosed() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.closed
}

// close ends reporting. It does not wait for a call that has begun: that might be the one that closes us.
func (e *events) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	e.checks, e.chosen = nil, netip.AddrPort{}
}
