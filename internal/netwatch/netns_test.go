// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e && linux

package netwatch_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/netns"
	"github.com/seed-98f0d4c2/runnel/internal/netwatch"
)

const patience = 10 * time.Second // for what comes at once, on a machine that has much to do

func TestKernel(t *testing.T) {
	net := netns.New(t)
	h := net.Site("home", nil).Host("host")
	run := func(args string) {
		t.Helper()
		cmd := h.Command(t.Context(), "sh", "-ec", args)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", args, err, out)
		}
	}
	run("ip link add wlan0 type veth peer name air && ip addr add 192.168.77.2/24 dev wlan0 && ip link set air up")

	var w *netwatch.Watcher
	if err := h.Do(func() (err error) {
		w, err = netwatch.New(nil)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	t.Logf("at first: %+v", w.Snapshot())
	// expect does something to the network and waits until all that is to be told has been.
	expect := func(do string, want ...string) {
		t.Helper()
		run(do)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		start, told := time.Now(), ""
		for {
			missing := ""
			for _, part := range want {
				if !strings.Contains(told, part) {
					missing = part
				}
			}
			if missing == "" {
				break
			}
			if err := w.WaitChange(ctx); err != nil {
				t.Fatalf("%s: told %q, want %q as well: %v", do, told, missing, err)
			}
			told += w.Change() + "; "
		}
		t.Logf("%s: after %v: %s", do, time.Since(start).Round(time.Millisecond), told)
	}
	expect("ip addr add 5.1.1.77/24 dev eth0", "eth0 got 5.1.1.77")
	expect("ip addr del 5.1.1.77/24 dev eth0", "eth0 lost 5.1.1.77")
	expect("ip link set wlan0 up", "wlan0 is up")
	expect("ip route replace default via 192.168.77.1", "default route is now by wlan0")
	expect("ip route replace default via 192.168.77.9", "default route is now through 192.168.77.9")
	expect("ip link set air down", "wlan0 has no carrier")
	expect("ip link set air up", "wlan0 is up")
	expect("ip link set wlan0 down", "wlan0 is down", "default route is gone")
	expect("ip route add 0.0.0.0/1 via 5.1.1.1", "") // the public address looked up is in the other half
	expect("ip route add 128.0.0.0/1 via 5.1.1.1", "default route is now by eth0")
	expect("ip -6 route del default", "IPv6 default route is gone")

	// Nothing of this matters. A change that does shows that all before it was read.
	run(strings.Join([]string{
		"ip addr add 127.0.0.9/8 dev lo",
		"ip addr change 2a00:5:1:1::2/64 dev eth0 valid_lft 5000 preferred_lft 4000",
		"ip addr change 2a00:5:1:1::2/64 dev eth0 valid_lft 6000 preferred_lft 5000",
		"ip route add 10.8.0.0/16 via 5.1.1.1",
		"ip link add veth7 type veth peer name veth8",
		"ip link set veth7 up; ip link set veth8 up", // with link-local addresses
		"ip link set eth0 promisc on; ip link set eth0 txqueuelen 500",
		"ip neigh add 5.1.1.9 lladdr 02:00:00:00:00:01 dev eth0",
	}, " && "))
	run("ip addr add 5.1.1.78/24 dev eth0")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := w.WaitChange(ctx); err != nil {
		t.Fatal(err)
	}
	if got := w.Change(); got != "eth0 got 5.1.1.78" {
		t.Errorf("told %q, want only the address that counts", got)
	}
}

// An IPv6 address is of no use until nobody else turns out to have it.
func TestTentative(t *testing.T) {
	h := netns.New(t).Site("home", nil).Host("host")
	run := func(name string, args ...string) string {
		t.Helper()
		out, err := h.Command(t.Context(), name, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
		return string(out)
	}
	run("sh", "-ec", "for i in all eth0; do echo 1 >/proc/sys/net/ipv6/conf/$i/accept_dad; done")
	var w *netwatch.Watcher
	if err := h.Do(func() (err error) {
		w, err = netwatch.New(nil)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	start := time.Now()
	run("ip", "addr", "add", "2a00:5:1:1::99/64", "dev", "eth0")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := w.WaitChange(ctx); err != nil {
		t.Fatal(err)
	}
	t.Logf("after %v: %s", time.Since(start), w.Change())
	if out := run("ip", "-6", "addr", "show", "tentative"); strings.Contains(out, "::99") {
		t.Errorf("told %q while the address is tentative:\n%s", w.Change(), out)
	}
	if !strings.Contains(w.Change(), "eth0 got 2a00:5:1:1::99") {
		t.Errorf("told %q, want the address", w.Change())
	}
}
