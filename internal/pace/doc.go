// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

// Package pace holds events to a rate with a burst: the generic cell rate algorithm (ITU-T I.371, annex A), whose whole
// state is one time.
//
//	const every, burst = time.Second, 6
//
//	var p pace.Pace
//	if p.Allow(now, every, burst) {
//		// at most six at once, and one a second
//	}
//
// # Limitations
//
// A Pace does not wait: [Pace.Due] says until when.
package pace
