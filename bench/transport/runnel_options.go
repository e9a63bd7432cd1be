// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"context"
	"time"

	"github.com/seed-98f0d4c2/runnel/flow"
)

// What a program that uses Runnel would choose for each kind of traffic is in this file and nowhere else.

func runnelFlowOptions(k Kind) *flow.Options {
	switch k {
	case Bulk:
		return &flow.Options{Priority: flow.Bulk}
	case Voice:
		return &flow.Options{
			Priority: flow.Immediate, FinishWithin: VoiceLife * time.Millisecond, Ordering: flow.Arrival,
		}
	case Ping:
		return &flow.Options{Returns: 1}
	}
	return &flow.Options{}
}

func runnelSend(s *flow.Sender, _ Kind, b []byte) error {
	_, err := s.Send(context.Background(), b)
	return err
}
