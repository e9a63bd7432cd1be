// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package portmap

// A Protocol is one in which routers are asked.
type Protocol uint8

// The protocols, in the order of preference.
const (
	PCP    Protocol = iota + 1 // RFC 6887
	NATPMP                     // RFC 6886
	UPnP                       // Internet Gateway Device
)

// String is "PCP", "NAT-PMP", "UPnP" or "none".
func (p Protocol) String() string {
	switch p {
	case PCP:
		return "PCP"
	case NATPMP:
		return "NAT-PMP"
	case UPnP:
		return "UPnP"
	default:
		return "none"
	}
}
