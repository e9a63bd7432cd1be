// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e && linux

package netns

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"time"
)

// setupTime bounds every command that builds or takes down a part of the network. They take milliseconds.
const setupTime = 20 * time.Second

// networks counts the networks of this process, to tell their names apart.
var networks atomic.Int64

// A TB is whom a network is made for: a [testing.TB], or a program that does what one does. Fatal and Skip do not return.
type TB interface {
	Helper()
	Cleanup(f func())
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	Skip(args ...any)
	Skipf(format string, args ...any)
}

// A Net is an internet of its own: a core and the sites around it. It belongs to one test, whose goroutine alone may use
// it, and it ends with that test.
type Net struct {
	tb    TB
	label string
	core  string
	names []string // every namespace, the core first
	sites int
}

// New makes a network with nothing but a core. It skips the test when this process may not make namespaces or a tool is
// missing, and deletes what dead processes have left behind.
func New(tb TB) *Net {
	tb.Helper()
	if os.Geteuid() != 0 {
		tb.Skip("netns: network namespaces need root")
	}
	for _, tool := range []string{"ip", "nft", "tc"} {
		if _, err := exec.LookPath(tool); err != nil {
			tb.Skipf("netns: the program %s is not installed", tool)
		}
	}
	sweep(tb)
	n := &Net{tb: tb, label: fmt.Sprintf("%s%d-%d-", prefix, os.Getpid(), networks.Add(1))}
	n.core = n.label + "core"
	if out, err := execute("", "ip", "netns", "add", n.core); err != nil {
		tb.Skipf("netns: this system does not permit network namespaces: %v\n%s", err, out)
	}
	n.names = append(n.names, n.core)
	tb.Cleanup(n.remove)
	n.settle(n.core, true)
	n.ip(n.core,
		"route add blackhole 192.168.0.0/16",
		"route add blackhole 10.0.0.0/8",
	)
	return n
}

// remove deletes every namespace, and with them their interfaces, rules and queues. A namespace lives on for as long as a
// process does in it, hence the end of those.
func (n *Net) remove() {
	for _, name := range n.names {
		endProcesses(name)
		if out, err := execute("", "ip", "netns", "delete", name); err != nil {
			n.tb.Errorf("netns: deleting %s: %v\n%s", name, err, out)
		}
	}
}

// namespace makes one more namespace.
func (n *Net) namespace(what string, forward bool) string {
	n.tb.Helper()
	name := n.label + what
	n.run("", "ip", "netns", "add", name)
	n.names = append(n.names, name)
	n.settle(name, forward)
	return name
}

// settle brings a new namespace into the state that the rest relies on. Duplicate address detection is off because it
// would make a new IPv6 address unusable for a second.
func (n *Net) settle(name string, forward bool) {
	n.tb.Helper()
	settings := []string{
		"net.ipv6.conf.all.accept_dad=0",
		"net.ipv6.conf.default.accept_dad=0",
		"net.ipv6.conf.default.accept_ra=0",
		"net.ipv4.conf.all.rp_filter=0",
		"net.ipv4.conf.default.rp_filter=0",
	}
	if forward {
		settings = append(settings, "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
	}
	err := within(name, func() error {
		for _, s := range settings {
			key, value, _ := strings.Cut(s, "=")
			if err := os.WriteFile("/proc/sys/"+strings.ReplaceAll(key, ".", "/"), []byte(value), 0o644); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		n.tb.Fatalf("netns: settings of %s: %v", name, err)
	}
	n.ip(name, "link set lo up")
}

// ip runs commands of the program ip inside a namespace.
func (n *Net) ip(name string, commands ...string) {
	n.tb.Helper()
	n.run(strings.Join(commands, "\n")+"\n", "ip", "-n", name, "-batch", "-")
}

// nft loads rules inside a namespace, all or nothing.
func (n *Net) nft(name, rules string) {
	n.tb.Helper()
	n.run(rules, "ip", "netns", "exec", name, "nft", "-f", "-")
}

// run runs a program that must succeed.
func (n *Net) run(input, name string, args ...string) {
	n.tb.Helper()
	if out, err := execute(input, name, args...); err != nil {
		n.tb.Fatalf("netns: %s %s: %v\n%s\ninput:\n%.2000s", name, strings.Join(args, " "), err, out, input)
	}
}

// execute runs a program to its end and returns what it printed.
func execute(input, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), setupTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	return string(out), err
}
