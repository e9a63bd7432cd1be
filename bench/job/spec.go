// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package job

import (
	"net/netip"
	"time"
)

// A Job is one of the things to be measured.
type Job string

// The jobs of a pair of processes.
const (
	Bulk     Job = "bulk"     // one channel, chunks of Spec.Size bytes
	Messages Job = "messages" // messages of Spec.Size bytes, as many as possible, each sent at once
	Buffered Job = "buffered" // the same behind a buffer
	Ping     Job = "ping"     // messages of Spec.Size bytes there and back, one after the other
	Idle     Job = "idle"     // Spec.Count connections that do nothing
)

// A Spec tells a child what to do.
type Spec struct {
	Server    bool
	Transport string
	Job       Job
	Local     netip.Addr
	Size      int           // bytes of a chunk or message
	Duration  time.Duration // of the client's sending
	WarmUp    time.Duration // with Ping: before it, and not counted
	Voice     bool          // with Bulk: a voice flow beside it
	Count     int           // with Idle: connections
	EventLog  string        // directory for event logs, if the transport writes them; empty for none
	Settle    time.Duration // with Idle: before counting, for what establishing a connection has started to end
}

// Voice is 50 messages of 200 bytes a second. It begins a little after the bulk and ends a little before it, so that what
// has not arrived in the end never will.
const (
	VoiceInterval = 20 * time.Millisecond
	voiceSize     = 200
	VoiceLead     = time.Second
	voiceTail     = time.Second
)

// Step is the length of an interval of Result.Series.
const Step = 100 * time.Millisecond

// A Result is what one side reports.
type Result struct {
	Bytes, Messages uint64        // sent, or received, by now
	Start, End      time.Duration // on the clock of package clock; of a receiver, Start is that of the first arrival
	CPU             time.Duration // user and system, between the two; since the start, where there was no arrival
	MaxRSS          int64         // bytes
	Heap            uint64        // bytes in use, stacks included: with Idle, for each connection
	Goroutines      float64       // with Idle: for each connection

	// Micros are the percentiles 50 and 99 of the round trips of Ping, those of the warm-up left out.
	MicrosP50, MicrosP99 float64

	Series []uint64 `json:",omitempty"` // bytes received in each Step after Start
	Voice  *Voice   `json:",omitempty"`

	Counts map[string]float64 `json:",omitempty"` // the transport's own, if it is a [transport.Counter]
}

// Voice is what became of the voice flow.
type Voice struct {
	Sent int
	Lag  []float64 `json:",omitempty"` // one way, ms, by number; -1 for what has not come
}

// Seconds returns how long the measurement took.
func (r *Result) Seconds() float64 { return (r.End - r.Start).Seconds() }
