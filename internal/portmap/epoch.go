// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package portmap

import "time"

// An epoch is the age of the router's memory, which every answer tells. When it is less than it must be, the router has
// restarted and forgotten its mappings.
type epoch struct {
	at    time.Time // zero if none has been told
	value uint32
}

// pcp takes a new value and reports whether the router has lost its state (RFC 6887 §8.5).
func (e *epoch) pcp(now time.Time, value uint32) (lost bool) {
	old := *e
	*e = epoch{now, value}
	if old.at.IsZero() {
		return false
	}
	if int64(value) < int64(old.value)-1 {
		return true
	}
	client := int64(now.Sub(old.at) / time.Second)
	server := int64(value) - int64(old.value)
	return client+2 < server-server/16 || server+2 < client-client/16
}

// pmp does the same by RFC 6886 §3.6, where the router's clock may be slow by an eighth and fast by anything.
func (e *epoch) pmp(now time.Time, value uint32) (lost bool) {
	old := *e
	*e = epoch{now, value}
	if old.at.IsZero() {
		return false
	}
	elapsed := int64(now.Sub(old.at) / time.Second)
	return int64(value) < int64(old.value)+elapsed*7/8-2
}
