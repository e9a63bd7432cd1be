// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/seed-98f0d4c2/runnel/signaling"
)

// servicesLoop follows the signaling plane's advice of STUN servers and relays.
func (e *Endpoint) servicesLoop() {
	for {
		sv, err := e.cfg.Signaler.Services(e.ctx)
		if err != nil {
			if e.ctx.Err() == nil && !errors.Is(err, context.Canceled) {
				e.log.Warn("no services advised", slog.Any("err", err))
				e.useServices(signaling.Services{})
			}
			return
		}
		e.useServices(sv)
		if sv.Expires.IsZero() {
			return
		}
		timer := time.NewTimer(max(time.Until(sv.Expires)*9/10, 5*time.Second))
		select {
		case <-timer.C:
		case <-e.ctx.Done():
			timer.Stop()
			return
		}
	}
}

// useServices takes over advice, beside what the configuration names.
func (e *Endpoint) useServices(sv signaling.Services) {
	e.stun.use(slices.Concat(e.cfg.STUN, sv.STUN)[:min(maxSTUN, len(e.cfg.STUN)+len(sv.STUN))])
	e.relays.use(slices.Concat(e.cfg.Relays, sv.Relays))
}
