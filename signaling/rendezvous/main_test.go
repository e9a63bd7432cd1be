// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package rendezvous

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
