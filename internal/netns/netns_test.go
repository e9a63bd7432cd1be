// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e && linux

package netns

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	patience = 5 * time.Second        // for what must come
	silence  = 200 * time.Millisecond // for what must not
)

func TestMapping(t *testing.T) {
	n := New(t)
	one := newEcho(t, n.Site("one", nil).Host("server1"))
	two := newEcho(t, n.Site("two", nil).Host("server2"))
	tests := []struct {
		nat  NAT
		same bool // the same port for both servers
		kept bool // and that is the host's
		addr func(*Host) netip.Addr
	}{
		{Public, true, true, (*Host).Addr},
		{Cone, true, true, func(h *Host) netip.Addr { return h.site.Addr() }},
		{Symmetric, false, false, func(h *Host) netip.Addr { return h.site.Addr() }},
	}
	for i, test := range tests {
		name := test.nat.String()
		t.Run(name, func(t *testing.T) {
			h := n.Site(name, &SiteConfig{NAT: test.nat}).Host(fmt.Sprint("host", i))
			sock := listen(t, h)
			local := sock.port()
			seen1, seen2 := mapped(t, sock, one), mapped(t, sock, two)
			t.Logf("port %d is seen as %v and %v", local, seen1, seen2)
			if want := test.addr(h); seen1.Addr() != want || seen2.Addr() != want {
				t.Errorf("seen at %v and %v, want the address %v", seen1, seen2, want)
			}
			if same := seen1 == seen2; same != test.same {
				t.Errorf("seen at %v and %v, want same=%v", seen1, seen2, test.same)
			}
			if kept := seen1.Port() == local; kept != test.kept {
				t.Errorf("port %d is seen as %v, want kept=%v", local, seen1, test.kept)
			}
			if again := mapped(t, sock, one); again != seen1 {
				t.Errorf("seen at %v at first and at %v later, want one mapping per destination", seen1, again)
			}
		})
	}
}

func TestFiltering(t *testing.T) {
	n := New(t)
	site := n.Site("servers", nil)
	friend, stranger := listen(t, site.Host("friend")), listen(t, site.Host("stranger"))
	otherPort := listen(t, friend.host)
	for i, nat := range []NAT{Public, Cone, Symmetric} {
		t.Run(nat.String(), func(t *testing.T) {
			sock := listen(t, n.Site(fmt.Sprint("home", i), &SiteConfig{NAT: nat}).Host(fmt.Sprint("host", i)))
			send(t, sock, "hello", friend.addr())
			_, outside := receive(t, friend, patience)
			send(t, stranger, "stranger", outside)
			send(t, otherPort, "stranger", outside)
			send(t, friend, "friend", outside)
			var got []string
			for len(got) < 3 {
				b, from := receive(t, sock, silence)
				if !from.IsValid() {
					break
				}
				got = append(got, b)
			}
			want := []string{"friend"}
			if nat == Public {
				want = []string{"friend", "stranger", "stranger"}
			}
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("behind the NAT arrived %q, want %q", got, want)
			}
		})
	}
}

// Each side has asked a server how it is seen, told the other, and both send, one of them too early.
func TestHolePunching(t *testing.T) {
	n := New(t)
	server := newEcho(t, n.Site("servers", nil).Host("server"))
	tests := []struct {
		a, b NAT
		want bool
	}{
		{Cone, Cone, true},
		{Public, Symmetric, true},
		{Cone, Symmetric, false},
		{Symmetric, Symmetric, false},
	}
	for i, test := range tests {
		t.Run(test.a.String()+"-"+test.b.String(), func(t *testing.T) {
			a := listen(t, n.Site(fmt.Sprint("a", i), &SiteConfig{NAT: test.a}).Host(fmt.Sprint("hosta", i)))
			b := listen(t, n.Site(fmt.Sprint("b", i), &SiteConfig{NAT: test.b}).Host(fmt.Sprint("hostb", i)))
			seenA, seenB := mapped(t, a, server), mapped(t, b, server)
			send(t, a, "too early", seenB)
			send(t, b, "from b", seenA)
			_, fromB := receive(t, a, silence)
			if fromB.IsValid() {
				send(t, a, "answer", fromB)
				if s, _ := receive(t, b, patience); s != "answer" && s != "too early" {
					t.Errorf("b received %q, want the answer to what a received from it", s)
				}
			}
			if got := fromB.IsValid(); got != test.want {
				t.Errorf("a at %v heard b at %v: %v, want %v", seenA, seenB, got, test.want)
			}
		})
	}
}

func TestIPv6(t *testing.T) {
	n := New(t)
	server := n.Site("servers", nil).Host("server")
	site := n.Site("home", &SiteConfig{NAT: Cone, Family: IPv6})
	h := site.Host("host")
	if h.Addr() != h.Addr6() || !h.Addr().Is6() || site.Addr().IsValid() {
		t.Fatalf("addresses %v and %v behind %v, want IPv6 alone", h.Addr(), h.Addr6(), site.Addr())
	}
	echo := newEcho(t, server)
	sock := listen(t, h)
	if got := mapped(t, sock, netip.AddrPortFrom(server.Addr6(), echo.Port())); got.Addr() != h.Addr6() {
		t.Errorf("seen at %v, want the host's own address %v", got, h.Addr6())
	}
	if _, err := sock.WriteToUDPAddrPort([]byte("x"), echo); err == nil {
		t.Error("an IPv6-only host has sent a packet to an IPv4 address")
	}
	stranger := listen(t, n.Site("elsewhere", nil).Host("stranger"))
	send(t, stranger, "stranger", netip.AddrPortFrom(h.Addr6(), sock.port()))
	if b, from := receive(t, sock, silence); from.IsValid() {
		t.Errorf("%q came in from %v, want it filtered", b, from)
	}
}

func TestRebind(t *testing.T) {
	n := New(t)
	site := n.Site("servers", nil)
	one, two := newEcho(t, site.Host("server1")), newEcho(t, site.Host("server2"))
	home := n.Site("home", &SiteConfig{NAT: Cone})
	sock := listen(t, home.Host("host"))
	before := mapped(t, sock, one)

	home.Rebind()
	after := mapped(t, sock, one)
	if after.Addr() != before.Addr() || after.Port() == before.Port() {
		t.Errorf("Rebind: seen at %v and then %v, want another port of the same address", before, after)
	}
	if other := mapped(t, sock, two); other != after {
		t.Errorf("Rebind: seen at %v and %v by two servers, want a cone NAT still", after, other)
	}

	home.Renumber()
	renumbered := mapped(t, sock, one)
	if renumbered.Addr() == before.Addr() || renumbered.Addr() != home.Addr() {
		t.Errorf("Renumber: seen at %v and then %v, want the address %v", after, renumbered, home.Addr())
	}

	hard := n.Site("hard", &SiteConfig{NAT: Symmetric})
	sock = listen(t, hard.Host("host2"))
	before = mapped(t, sock, one)
	hard.Rebind()
	if after := mapped(t, sock, one); after == before {
		t.Errorf("Rebind of a symmetric NAT: seen at %v as before, want another port", after)
	}
}

func TestCommand(t *testing.T) {
	n := New(t)
	h := n.Site("home", &SiteConfig{NAT: Cone}).Host("host")
	out, err := h.Command(t.Context(), "ip", "-o", "address").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, a := range []netip.Addr{h.Addr(), h.Addr6()} {
		if !strings.Contains(string(out), a.String()) {
			t.Errorf("a process in the host sees the addresses below, want %v among them\n%s", a, out)
		}
	}
}

func TestCleanup(t *testing.T) {
	var label string
	t.Run("network", func(t *testing.T) {
		n := New(t)
		h := n.Site("home", nil).Host("host")
		label = n.label
		if err := h.Command(t.Context(), "sleep", "600").Start(); err != nil {
			t.Fatal(err)
		}
	})
	if label == "" {
		t.Skip("no network")
	}
	if left := named(t, label); len(left) != 0 {
		t.Errorf("namespaces %v are left after the test, want none", left)
	}

	dead := exec.Command("true")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	orphan := fmt.Sprintf("%s%d-1-core", prefix, dead.Process.Pid)
	if out, err := execute("", "ip", "netns", "add", orphan); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	New(t)
	if left := named(t, orphan); len(left) != 0 {
		t.Errorf("namespaces %v of a dead process are left, want none", left)
	}
}

// named lists the namespaces whose names begin so.
func named(t *testing.T, prefix string) []string {
	entries, err := os.ReadDir(netnsDir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) {
			names = append(names, e.Name())
		}
	}
	return names
}
