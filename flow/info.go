// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"cmp"
	"slices"
	"time"
)

// An Info describes a flow of a session at one moment.
type Info struct {
	Ref
	Label    string
	Priority Priority // of an incoming flow: what the peer says it is
	Stream   bool     // it is one half of a byte stream

	Sender   SenderStats   // of an outgoing flow
	Receiver ReceiverStats // of an incoming flow
}

// Flows describes the flows that are not over: outgoing ones first, in the order of their numbers, those without one
// last. A flow is over for its sender when the peer has, or has refused, everything, for its receiver when everything
// has arrived, read or not. It may be called by the loop only.
func (m *Mux) Flows(now time.Time) []Info {
	if !m.closed {
		m.now = now
		m.collect()
		m.returnBuffers()
	}
	out := make([]Info, 0, len(m.senders)+len(m.receivers))
	for s := range m.senders {
		out = append(out, Info{
			Ref: s.ref(), Label: s.Label(), Priority: priorityOf(uint8(s.level)), Stream: s.open.Stream, Sender: s.Stats(),
		})
	}
	for _, r := range m.receivers {
		out = append(out, Info{
			Ref: Ref{r.id, true}, Label: r.label, Priority: r.priority, Stream: r.stream, Receiver: r.Stats(),
		})
	}
	slices.SortFunc(out, func(a, b Info) int {
		if a.Incoming != b.Incoming {
			if a.Incoming {
				return 1
			}
			return -1
		}
		return cmp.Compare(a.ID, b.ID)
	})
	return out
}
