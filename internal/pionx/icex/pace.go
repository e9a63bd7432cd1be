// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package icex

import (
	"sync"
	"time"

	"github.com/pion/ice/v2"
)

const (
	// brisk is the interval of checks in a burst, and burstTime how long it lasts.
	brisk     = 20 * time.Millisecond
	burstTime = 500 * time.Millisecond
	// maxNudges bounds what nudging leaves behind in the library.
	maxNudges = 600
)

// pace makes an agent check faster than the library's fixed interval, for a while.
type pace struct {
	agent *Agent

	mu      sync.Mutex
	until   time.Time // end of the burst
	timer   *time.Timer
	running bool // the timer is armed
	stopped bool // a pair is selected, or the agent closed
	nudges  int
}

// burst begins or prolongs a burst.
func (p *pace) burst() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.until = time.Now().Add(burstTime)
	if p.stopped || p.running {
		return
	}
	p.running = true
	if p.timer == nil {
		p.timer = time.AfterFunc(brisk, p.tick)
	} else {
		p.timer.Reset(brisk)
	}
}

func (p *pace) tick() {
	p.mu.Lock()
	if p.stopped || time.Now().After(p.until) {
		p.running = false
		p.mu.Unlock()
		return
	}
	p.timer.Reset(brisk)
	p.mu.Unlock()
	p.agent.nudge()
}

func (p *pace) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
	if p.timer != nil {
		p.timer.Stop()
	}
}

// nudge makes the library do now what it does at every interval: send a check for each pair, or nominate.
//
// There is no call for that. But it checks at once whenever it learns of a remote candidate; so it is told of one that
// it can make no pair with, a passive TCP one, while it speaks only UDP. The address is never used. Each must be new.
func (a *Agent) nudge() {
	p := &a.pace
	p.mu.Lock()
	if p.stopped || p.nudges >= maxNudges {
		p.mu.Unlock()
		return
	}
	p.nudges++
	port := p.nudges
	p.mu.Unlock()
	c, err := ice.NewCandidateHost(&ice.CandidateHostConfig{
		Network:   "tcp",
		Address:   "192.0.2.1", // RFC 5737: documentation
		Port:      port,
		Component: ice.ComponentRTP,
		TCPType:   ice.TCPTypePassive,
	})
	if err == nil {
		_ = a.ice.AddRemoteCandidate(c) // closed: nothing to nudge
	}
}
