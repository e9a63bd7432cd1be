// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package rendezvous_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-98f0d4c2/runnel/signaling/internal/rvproto"
)

// What was accepted and not confirmed when a connection broke is kept, even if it is more than the mailbox would take.
func TestResumeKeepsTheUnconfirmed(t *testing.T) {
	inLab(t, nil, func(t *testing.T, l *lab) {
		r := l.raw()
		reg := r.register()
		accepted := 0
		for range 3 {
			a := l.join(nil, nil)
			for range 15 {
				if a.Send(t.Context(), r.id(), []byte("x")) == nil {
					accepted++
				}
			}
		}
		r.ws.CloseNow()
		time.Sleep(time.Second)
		again := l.raw()
		again.key = r.key
		f := again.sign(again.hello())
		f.Resume = reg.Resume
		again.write(f)
		if !again.want("resume", rvproto.TypeRegistered).Resumed {
			t.Fatal("not resumed")
		}
		got := 0
		go func() {
			for {
				if _, _, err := again.ws.Read(t.Context()); err != nil {
					return
				}
				got++
			}
		}()
		synctest.Wait()
		if got != accepted {
			t.Errorf("%d envelopes after the resumption, want the %d that were answered with ok", got, accepted)
		}
		again.ws.CloseNow()
		synctest.Wait()
	})
}
