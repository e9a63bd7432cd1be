// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import "github.com/seed-98f0d4c2/runnel/internal/congestion"

// A Controller decides how many bytes may be in flight on a path, and how fast they may be sent. It belongs to the
// driver's loop.
type Controller = congestion.Controller

// NewReno returns the controller RFC 9002 describes for packets of at most maxPacket bytes.
func NewReno(maxPacket int) Controller { return congestion.NewReno(maxPacket) }
