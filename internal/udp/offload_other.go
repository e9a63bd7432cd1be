// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package udp

import "github.com/seed-98f0d4c2/runnel/internal/wire"

// controlSize is the room for control messages, of which there are none.
const controlSize = 0

func enableOffloads(uintptr, bool) offloads { return offloads{} }

func appendControl(b []byte, _ int, _ wire.ECN, _ bool) []byte { return b }

func parseControl([]byte) (segment int, mark wire.ECN) { return 0, wire.NotECT }
