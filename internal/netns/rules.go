// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e && linux

package netns

import (
	"fmt"
	"math"
	"strings"
)

// ruleset is what a site's router has in nftables.
func ruleset(c *SiteConfig) string {
	var b strings.Builder
	b.WriteString("table inet runnel {\n")

	// A packet to a port that is mapped to nobody, or not for its sender, is for the router itself. If it were let in,
	// the answer would be an ICMP error and, worse, an entry in the connection tracking, because of which the host's
	// next packet to that sender would leave by another port.
	b.WriteString("chain input {\n type filter hook input priority filter; policy accept;\n")
	if c.NAT != Public {
		b.WriteString(" iifname wan meta l4proto { tcp, udp } drop\n")
	}
	b.WriteString("}\n")

	b.WriteString("chain outage {\n}\n") // filled by SetDown
	b.WriteString("chain forward {\n type filter hook forward priority filter; policy accept;\n jump outage\n")
	if c.Loss > 0 {
		const steps = 100_000
		drop := int(math.Round(c.Loss * steps))
		for _, from := range []string{"lan", "wan"} { // a rule each, so that each direction has dice of its own
			fmt.Fprintf(&b, " iifname %s numgen random mod %d < %d counter drop\n", from, steps, drop)
		}
	}
	if c.BlockUDP {
		b.WriteString(" meta l4proto udp counter drop\n")
	}
	if c.NAT != Public {
		b.WriteString(" iifname wan ct state established,related accept\n jump mapped_forward\n iifname wan counter drop\n")
	}
	b.WriteString("}\n")

	b.WriteString("chain mapped_forward {\n}\nchain mapped_nat {\n}\nchain mapped_source {\n}\n") // filled by MapPorts
	b.WriteString("chain prerouting {\n type nat hook prerouting priority dstnat; policy accept;\n jump mapped_nat\n}\n")

	b.WriteString("map shift {\n type inet_service : inet_service\n}\n") // filled by Rebind
	b.WriteString("chain postrouting {\n type nat hook postrouting priority srcnat; policy accept;\n")
	b.WriteString(masquerade(c.NAT))
	b.WriteString("}\n}\n")
	return b.String()
}

// masquerade is the rule that maps addresses.
func masquerade(n NAT) string {
	switch n {
	case Cone:
		return " oifname wan meta nfproto ipv4 masquerade persistent\n"
	case Symmetric:
		return " oifname wan meta nfproto ipv4 masquerade random,fully-random\n"
	default:
		return ""
	}
}

// The ports that hosts choose from, as Linux is delivered.
const (
	ephemeralFirst = 32768
	ephemeralCount = 28232
)

// shifted maps every ephemeral port of a host to one that is offset further. Ports of UDP only, so that TCP connections
// through the NAT, which the test did not mean, live on.
func shifted(offset int) string {
	var b strings.Builder
	b.WriteString("flush chain inet runnel postrouting\nflush map inet runnel shift\n")
	b.WriteString("add element inet runnel shift {\n")
	for i := range ephemeralCount {
		fmt.Fprintf(&b, "%d : %d,\n", ephemeralFirst+i, ephemeralFirst+(i+offset)%ephemeralCount)
	}
	b.WriteString("}\n")
	b.WriteString("add rule inet runnel postrouting oifname wan meta nfproto ipv4 meta l4proto udp " +
		"masquerade to : udp sport map @shift\n")
	b.WriteString("add rule inet runnel postrouting" + masquerade(Cone))
	return b.String()
}
