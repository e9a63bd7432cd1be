// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/pionx/stunx"
)

// Who forges the relay's source address but sees none of the client's packets must not end its allocation: the answer is
// to a transaction that never was.
func TestForgedRefreshErrorEndsAllocation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, nil)
		const client = "9.9.9.1:1000"
		a := l.allocate(client, "u", nil)
		forged := stunx.NewBuilder(nil, stunx.Refresh, stunx.Failure, stunx.NewTransaction()).AddError(400).Bytes()
		l.w.send(relayUDP, netip.MustParseAddrPort(client), forged)
		synctest.Wait()
		time.Sleep(time.Second)
		if err := a.Err(); err != nil {
			t.Errorf("one forged datagram of %d bytes ended the allocation: %v", len(forged), err)
		}
	})
}
