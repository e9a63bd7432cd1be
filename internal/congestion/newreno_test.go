// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package congestion

import (
	"testing"
	"time"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func TestNewReno(t *testing.T) {
	c := NewReno(1200).(*newReno)
	if c.Window() != 12_000 {
		t.Errorf("initial window %d, want ten packets", c.Window())
	}
	a := Ack{SentAt: epoch, Bytes: 1200, Packets: 1}
	c.HandleAck(epoch, &a)
	if c.Window() != 12_000 {
		t.Error("the window grew though it was not the limit")
	}
	a.Limited = true
	c.HandleAck(epoch, &a)
	if c.Window() != 13_200 {
		t.Errorf("slow start: window %d, want 13200", c.Window())
	}
	lossTime := epoch.Add(time.Second)
	l := Loss{SentAt: epoch, Bytes: 1200, Packets: 1}
	c.HandleLoss(lossTime, &l)
	c.HandleLoss(lossTime.Add(time.Millisecond), &l)
	c.HandleAck(lossTime, &a)
	if c.Window() != 6600 || c.slowStart() {
		t.Errorf("window %d after losses of one round trip, want one halving to 6600", c.Window())
	}
	a.SentAt = lossTime.Add(time.Millisecond)
	for range 6 {
		c.HandleAck(a.SentAt, &a)
	}
	if c.Window() != 7800 {
		t.Errorf("window %d after one window acknowledged, want one packet more: 7800", c.Window())
	}
	for i := range 20 {
		l.SentAt = lossTime.Add(time.Duration(i+1) * time.Second)
		c.HandleLoss(l.SentAt.Add(1), &l)
	}
	if c.Window() != 2400 {
		t.Errorf("least window %d, want two packets", c.Window())
	}
}
