// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import "github.com/seed-98f0d4c2/runnel/internal/congestion"

// A Controller decides how many bytes may be in flight on a path, and how fast they may be sent. It belongs to the
// driver's loop.
type Controller = congestion.Controller

// NewWeir returns the default controller. It keeps the path full and its queues short: delay is its first signal, loss
// counts as congestion when it comes with a queue, and against senders that fill the queue it takes a fair share.
// While time-critical data (priority Urgent and above) is sent it does not let a queue stand.
// docs/decisions/0005-default-controller.md.
func NewWeir(maxPacket int) Controller { return congestion.NewWeir(maxPacket) }

// NewCUBIC returns the controller of RFC 9438, the one TCP uses on most systems. It fills the path's queue.
func NewCUBIC(maxPacket int) Controller { return congestion.NewCUBIC(maxPacket) }

// NewReno returns the controller RFC 9002 describes. It fills the path's queue and needs long to recover on fast ones.
func NewReno(maxPacket int) Controller { return congestion.NewReno(maxPacket) }
