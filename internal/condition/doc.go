// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

// Package condition imitates a bad network: a [Link] loses, delays, reorders, doubles and damages the packets that pass
// through it, and narrows the way. It is a machine: the caller says what time it is, and the same seed and the same
// calls give the same result.
//
//	var l condition.Link[netip.AddrPort]
//	l.Set(now, condition.Settings{Loss: 0.05, Delay: 40 * time.Millisecond, Bandwidth: 2e6})
//	l.Push(now, packet, to)
//	for {
//		b, to, ok := l.Pop(now)
//		if !ok {
//			break // until l.Next()
//		}
//		send(b, to)
//		l.Release(b)
//	}
//
// A packet meets the conditions in this order: chance decides whether it is lost, damaged, doubled or held back; then it
// waits in the queue for the bandwidth; then it travels for the delay.
//
// # Limitations
//
// The queue drops at its tail and knows no flows and no marks. The bandwidth is constant and counts the payload of UDP
// alone. A damaged packet has one bit flipped.
package condition
