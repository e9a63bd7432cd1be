// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e && linux

package netwatch

import (
	"fmt"
	"strings"
	"testing"

	"github.com/seed-98f0d4c2/runnel/internal/netns"
)

// What was lost because there was too much of it may have mattered.
func TestOverrun(t *testing.T) {
	h := netns.New(t).Site("home", nil).Host("host")
	var src source
	if err := h.Do(func() (err error) {
		src, err = open()
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer src.close()
	var batch strings.Builder
	for i := range 10_000 { // routes that do not matter, and more than the socket's buffer holds
		fmt.Fprintf(&batch, "route add 10.%d.%d.0/24 via 5.1.1.1\n", i/250, i%250)
	}
	cmd := h.Command(t.Context(), "ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(batch.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	if err := src.next(); err != nil {
		t.Errorf("error %v after messages were lost, want a reason to read again", err)
	}
	if s, err := src.read(); err != nil || s.Default4.Interface != "eth0" {
		t.Errorf("read %+v, %v; want the default route by eth0", s, err)
	}
}
