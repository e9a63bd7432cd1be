// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package tally_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/tally"
)

func TestCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := tally.New()
		c.Begin()
		go func() {
			for i := range 5 {
				n := c.Say()
				time.Sleep(time.Duration(i) * time.Second) // 0, 1, 2, 3, 4
				c.Hear(strconv.Itoa(n))
				c.Confirm()
			}
		}()
		if err := c.Wait(t.Context(), func(n tally.Numbers) bool { return n.Said == 5 && tally.Settled(n) }); err != nil {
			t.Fatal(err)
		}
		if gap, at := c.Gap(); gap != 4*time.Second || at != 6*time.Second {
			t.Errorf("the longest gap is %v, %v after the beginning; want 4s, 6s after it", gap, at)
		}
		c.Begin()
		if gap, _ := c.Gap(); gap != 0 {
			t.Errorf("the longest gap is %v after a new beginning, want none", gap)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := c.Wait(ctx, func(n tally.Numbers) bool { return n.Heard > 5 }); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("waiting in vain gives %v", err)
		}
	})
}

func TestFaults(t *testing.T) {
	for name, heard := range map[string][]string{"lost": {"1", "3"}, "doubled": {"1", "1"}, "disorder": {"2", "1"}, "foreign": {"one"}} {
		c := tally.New()
		for _, text := range heard {
			c.Say()
			c.Hear(text)
			c.Confirm()
		}
		if err := c.Wait(t.Context(), tally.Settled); err == nil || !strings.Contains(err.Error(), "lost, doubled or out of order") {
			t.Errorf("%s: %v", name, err)
		}
	}
	c := tally.New()
	c.Fail("the speaker is gone")
	if err := c.Wait(t.Context(), tally.Settled); err == nil || !strings.Contains(err.Error(), "gone") {
		t.Errorf("a failure gives %v", err)
	}
}
