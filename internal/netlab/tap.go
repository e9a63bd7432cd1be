// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package netlab

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Packet is a packet at the core, after the sender's NAT and before the receiver's.
type Packet struct {
	// From and To are the addresses as the internet sees them.
	From, To netip.AddrPort
	// Payload may be changed in place; it must not be kept beyond the call of the tap without Clone.
	Payload []byte
	// Sent is when the packet left the sender's NAT.
	Sent time.Time
}

// Clone returns a packet that shares nothing with p.
func (p Packet) Clone() Packet {
	p.Payload = bytes.Clone(p.Payload)
	return p
}

// Verdict is what a tap does with a packet.
type Verdict uint8

// The verdicts. The strictest of several taps wins, and Drop is stricter than Duplicate.
const (
	Pass      Verdict = iota // goes on
	Duplicate                // goes on twice
	Drop                     // goes no further
)

type tap struct{ f func(Packet) Verdict }

// Tap shows every packet that crosses the core to f, which decides what becomes of it, before the links' loss and
// delay. Injected packets are not shown. f is called from one goroutine, in order, and may call anything but Close;
// while it runs the whole network stands still. The returned function removes the tap.
func (n *Network) Tap(f func(p Packet) Verdict) (remove func()) {
	t := &tap{f: f}
	n.mu.Lock()
	n.taps = append(slices.Clip(n.taps), t) // the core iterates over the old slice meanwhile
	n.mu.Unlock()
	return func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.taps = slices.DeleteFunc(slices.Clone(n.taps), func(o *tap) bool { return o == t })
	}
}

// Inject puts a packet into the core, with whatever source address p says: replay a packet that a tap has seen, or
// forge one. It crosses only the receiver's link. The payload is copied and Sent is ignored.
func (n *Network) Inject(p Packet) error {
	if !p.From.IsValid() || !p.To.IsValid() {
		return fmt.Errorf("%w: packet from %v to %v", ErrConfig, p.From, p.To)
	}
	return n.enter(inbound{packet: p.Clone(), injected: true})
}
