// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e && linux

package e2e

import "testing"

// Two peers behind symmetric NATs stay on the relay (see TestPaths), unless the router of one of them forwards a port. The
// program takes the mapping back when it ends.
func TestPortMapping(t *testing.T) {
	tests := []struct {
		name     string
		protocol string
		options  []string // of the router
		dialler  string   // the one who dials; alice has the mapping
	}{
		{"PCP, dials", "PCP", nil, "alice"},
		{"PCP, is dialled", "PCP", nil, "bob"},
		{"UPnP, dials", "UPnP", []string{"enable_natpmp=no"}, "alice"},
		{"UPnP, is dialled", "UPnP", []string{"enable_natpmp=no"}, "bob"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			l := newLab(t, labConfig{})
			home := l.Site("a", symmetric)
			home.MapPorts(t, test.options...)
			p := &pair{siteA: home, siteB: l.Site("b", symmetric)}
			p.alice, p.bob = l.chat(p.siteA.Host("alice"), "alice"), l.chat(p.siteB.Host("bob"), "bob")
			p.alice.expectLog(startTime, `msg="port mapped" .*protocol=`+test.protocol)
			if test.dialler == "alice" {
				meet(p.alice, p.bob)
			} else {
				meet(p.bob, p.alice)
			}
			p.alice.direct(p.bob)
			p.bob.direct(p.alice)
			talk(p.alice, p.bob, "hello")
			p.check("direct")
			if home.Mapped() == "" {
				t.Error("the router has no rules for the mapping")
			}
			if code := p.alice.stop(talkTime); code != 0 {
				t.Errorf("alice was interrupted and exited with %d, want 0", code)
			}
			if rules := home.Mapped(); rules != "" {
				t.Errorf("alice has ended, and the router still has\n%s", rules)
			}
		})
	}
}
