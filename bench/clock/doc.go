// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

// Package clock tells the time that all processes of one machine agree about:
//
//	sent := clock.Now() // goes into a message
//	...
//	oneWay := clock.Now() - sent // in another process
//
// # Limitations
//
// Unix. It means nothing to another machine, or after a restart of this one.
package clock
