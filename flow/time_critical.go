// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import "time"

// TimeCritical returns when data of a flow with priority Urgent or above was last sent and received. Zero: never.
func (m *Mux) TimeCritical() (sent, received time.Time) { return m.urgentSent, m.urgentReceived }
