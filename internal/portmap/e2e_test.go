// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e && linux

package portmap

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/netns"
)

const (
	mapTime = 20 * time.Second       // for a mapping; it takes a second at most
	silence = 200 * time.Millisecond // for what must not come
)

// TestMain lets this program be run on a host of a virtual network, as a process with a socket and a Mapper.
func TestMain(m *testing.M) {
	if wish, ok := os.LookupEnv("RUNNEL_PORTMAP"); ok {
		if err := inside(wish); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// inside maps a socket's port, says so, and repeats every packet that comes, until its input ends. Then it closes the Mapper,
// says so, and goes on until it is killed.
func inside(wish string) error {
	network := "udp4"
	cfg := Config{Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	if wish == "IPv6" {
		network = "udp6"
	}
	for _, p := range []Protocol{PCP, NATPMP, UPnP} {
		if wish == p.String() {
			cfg.protocols = []Protocol{p}
		}
	}
	conn, err := new(net.ListenConfig).ListenPacket(context.Background(), network, ":0")
	if err != nil {
		return err
	}
	local := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	if network == "udp6" {
		cfg.V6 = local
	} else {
		cfg.V4 = local
	}
	changed := make(chan struct{}, 1)
	cfg.Changed = func() { changed <- struct{}{} }
	m := New(cfg)
	select {
	case <-changed:
	case <-time.After(mapTime):
		return fmt.Errorf("no mapping: %+v", m.Status())
	}
	s := m.Status()[0]
	fmt.Println("mapped", s.Protocol, s.External, local.Port())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		m.Close(context.Background())
		fmt.Println("closed")
	}()
	b := make([]byte, 1500)
	for {
		n, _, err := conn.ReadFrom(b)
		if err != nil {
			return err
		}
		fmt.Println("packet", string(b[:n]))
	}
}

// A real router maps a port by each of the protocols, lets a stranger's packet in, and forgets the mapping in the end.
func TestMiniupnpd(t *testing.T) {
	tests := []struct {
		name    string
		wish    string
		want    Protocol
		nat     netns.NAT
		options []string
	}{
		{"PCP", "PCP", PCP, netns.Cone, nil},
		{"NAT-PMP", "NAT-PMP", NATPMP, netns.Cone, nil},
		{"UPnP 2", "UPnP", UPnP, netns.Cone, nil},
		{"UPnP 1", "UPnP", UPnP, netns.Cone, []string{"force_igd_desc_v1=yes"}},
		{"all of them", "", PCP, netns.Symmetric, nil},
		{"only UPnP there", "", UPnP, netns.Symmetric, []string{"enable_natpmp=no"}},
		{"pinhole", "IPv6", PCP, netns.Cone, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			n := netns.New(t)
			home := n.Site("home", &netns.SiteConfig{NAT: test.nat})
			host, stranger := home.Host("host"), n.Site("away", nil).Host("stranger")
			home.MapPorts(t, test.options...)

			cmd := host.Command(t.Context(), os.Args[0])
			cmd.Env = append(os.Environ(), "RUNNEL_PORTMAP="+test.wish)
			cmd.Stderr = t.Output()
			stdin, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			lines := make(chan string, 16)
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				for s := bufio.NewScanner(stdout); s.Scan(); {
					lines <- s.Text()
				}
				_ = cmd.Wait()
			}()
			defer func() {
				_ = cmd.Process.Kill()
				<-ended
			}()
			line := func(within time.Duration) string {
				select {
				case s := <-lines:
					return s
				case <-ended:
					return "the process has ended"
				case <-time.After(within):
					return ""
				}
			}

			said := strings.Fields(line(2 * mapTime))
			if len(said) != 4 || said[0] != "mapped" || said[1] != test.want.String() {
				t.Fatalf("the host says %q, want a mapping by %v", said, test.want)
			}
			external, err := netip.ParseAddrPort(said[2])
			want := home.Addr()
			if test.wish == "IPv6" {
				want = host.Addr6()
			}
			if err != nil || external.Addr() != want {
				t.Fatalf("mapped to %s, want a port of %v", said[2], want)
			}
			if rules := home.Mapped(); !strings.Contains(rules, said[3]) {
				t.Errorf("the router's rules do not name port %s:\n%s", said[3], rules)
			}

			var conn net.PacketConn
			if err := stranger.Do(func() (err error) {
				conn, err = new(net.ListenConfig).ListenPacket(t.Context(), "udp", ":0")
				return err
			}); err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			send := func(text string) {
				if _, err := conn.WriteTo([]byte(text), net.UDPAddrFromAddrPort(external)); err != nil {
					t.Fatal(err)
				}
			}
			send("knock")
			if got := line(mapTime); got != "packet knock" {
				t.Fatalf("after a stranger's packet to %v the host says %q, want it to have arrived", external, got)
			}

			_ = stdin.Close()
			if got := line(mapTime); got != "closed" {
				t.Fatalf("the host says %q, want closed", got)
			}
			if rules := home.Mapped(); slices.Contains(strings.Fields(rules), said[3]) {
				t.Errorf("the router still has rules for port %s:\n%s", said[3], rules)
			}
			// From another port, for the router lets the old conversation go on.
			if err := stranger.Do(func() (err error) {
				conn, err = new(net.ListenConfig).ListenPacket(t.Context(), "udp", ":0")
				return err
			}); err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			send("again")
			if got := line(silence); got != "" {
				t.Errorf("after the end of the mapping the host says %q, want nothing", got)
			}
		})
	}
}
