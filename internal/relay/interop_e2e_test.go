// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package relay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/pionx/stunx"
	"github.com/seed-98f0d4c2/runnel/internal/pionx/turnx"
)

// tool finds a program of Debian's coturn package.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is missing: apt-get install -y coturn (and do not start its service)", name)
	}
	return path
}

// interopRelay is a relay for many clients of one address.
func interopRelay(t *testing.T) (*Server, netip.AddrPort) {
	t.Helper()
	c := realConfig(t)
	c.Listeners[0].Close()
	port := addrPort(c.PacketConns[0].LocalAddr())
	l, err := net.Listen("tcp4", port.String()) // one port for both, as the tools expect
	if err != nil {
		t.Skipf("port %d is free for UDP only: %v", port.Port(), err)
	}
	c.Listeners[0] = l
	c.MaxPerUser, c.AnswerRate = -1, -1
	c.Secrets = []string{secretOfTools}
	return start(t, c), port
}

// echo answers every packet with itself.
func echo(t *testing.T) netip.AddrPort {
	t.Helper()
	pc, err := net.ListenUDP("udp4", &net.UDPAddr{IP: localhost.AsSlice()})
	ok(t, err)
	_ = pc.SetReadBuffer(4 << 20)
	var wg sync.WaitGroup
	wg.Go(func() {
		b := make([]byte, 2000)
		for {
			n, from, err := pc.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			_, _ = pc.WriteToUDPAddrPort(b[:n], from)
		}
	})
	t.Cleanup(func() {
		pc.Close()
		wg.Wait()
	})
	return addrPort(pc.LocalAddr())
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

func TestInteropStunclient(t *testing.T) {
	path := tool(t, "turnutils_stunclient")
	_, addr := interopRelay(t)
	out := run(t, path, "-p", strconv.Itoa(int(addr.Port())), addr.Addr().String())
	if !regexp.MustCompile(`UDP reflexive addr: 127\.0\.0\.1:\d+`).MatchString(out) {
		t.Errorf("no reflexive address in:\n%s", out)
	}
}

var totals = regexp.MustCompile(`tot_send_msgs=(\d+), tot_recv_msgs=(\d+)`)

func TestInteropUclient(t *testing.T) {
	path := tool(t, "turnutils_uclient")
	for name, args := range map[string][]string{
		"udp, channels":             {},
		"udp, indications":          {"-s"},
		"udp, client to client":     {"-y"},
		"udp, extra requests":       {"-G"},
		"udp, padded channels":      {"-D"},
		"tcp, channels":             {"-t"},
		"tcp, indications":          {"-t", "-s"},
		"tcp, client to client":     {"-t", "-y"},
		"udp, family named":         {"-X"},
		"tcp, after disconnections": {"-t"},
	} {
		t.Run(name, func(t *testing.T) {
			_, addr := interopRelay(t)
			peer := echo(t)
			const clients, messages = 4, 100
			args := append([]string{
				"-W", secretOfTools, "-u", "alice", "-c", "-p", strconv.Itoa(int(addr.Port())), "-n", strconv.Itoa(messages),
				"-m", strconv.Itoa(clients), "-l", "171", "-e", peer.Addr().String(), "-r", strconv.Itoa(int(peer.Port())),
			}, args...)
			if name == "tcp, after disconnections" {
				// Clients that break off in the middle lose messages, as they must. They must not harm who comes next.
				run(t, path, append(slices.Clone(args), "-B", addr.Addr().String())...)
			}
			out := run(t, path, append(args, addr.Addr().String())...)
			all := totals.FindAllStringSubmatch(out, -1)
			if len(all) == 0 {
				t.Fatalf("no totals in:\n%s", out)
			}
			last := all[len(all)-1]
			sent, _ := strconv.Atoi(last[1])
			got, _ := strconv.Atoi(last[2])
			t.Logf("sent %d, received %d, %d allocations made", sent, got, clients)
			if sent < clients*messages || got < sent {
				t.Errorf("sent %d, received %d of at least %d:\n%s", sent, got, clients*messages, out)
			}
		})
	}
}

// secretOfTools has no blanks, which the tools could not pass on.
const secretOfTools = "0123456789abcdef0123456789abcdef"

// The tools take whatever realm comes; a wrong secret must stop them.
func TestInteropWrongSecret(t *testing.T) {
	path := tool(t, "turnutils_uclient")
	s, addr := interopRelay(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	out, _ := exec.CommandContext(ctx, path, "-W", "another secret of some length", "-u", "alice", "-c", "-y", "-p",
		strconv.Itoa(int(addr.Port())), "-n", "1", addr.Addr().String()).CombinedOutput()
	if s.Allocations() != 0 || bytes.Contains(out, []byte("tot_recv_msgs=1")) {
		t.Errorf("%d allocations with a wrong secret:\n%s", s.Allocations(), out)
	}
}

// coturn starts coturn's server on the loopback interface and returns its address.
func coturn(t *testing.T) netip.AddrPort {
	t.Helper()
	path := tool(t, "turnserver")
	pc, err := net.ListenUDP("udp4", &net.UDPAddr{IP: localhost.AsSlice()})
	ok(t, err)
	addr := addrPort(pc.LocalAddr())
	pc.Close()
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, path, "-n", "--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1", "--realm=coturn",
		fmt.Sprintf("--listening-port=%d", addr.Port()), "--use-auth-secret", "--static-auth-secret="+secretOfTools,
		"--allow-loopback-peers", "--no-tls", "--no-dtls", "--no-cli", "--fingerprint", "--log-file=stdout", "--simple-log",
		"--pidfile="+dir+"/pid", "--db="+dir+"/db", "--min-port=40000", "--max-port=40999")
	cmd.Stdout, cmd.Stderr, cmd.Dir = &out, &out, dir
	ok(t, cmd.Start())
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("coturn says:\n%s", out.String())
		}
	})
	// Ask until it answers.
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: localhost.AsSlice()}) // unconnected: refusals do not end the wait
	ok(t, err)
	defer c.Close()
	b := make([]byte, 500)
	for range 100 {
		_, req := stunx.NewBinding()
		_, _ = c.WriteToUDPAddrPort(req, addr)
		_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		if n, err := c.Read(b); err == nil && stunx.IsResponse(b[:n]) {
			return addr
		}
	}
	t.Fatalf("coturn does not answer:\n%s", out.String())
	return addr
}

// Our client at coturn's server: allocation, permission, indication, channel, refresh, deallocation, over UDP and TCP.
func TestInteropCoturnServer(t *testing.T) {
	addr := coturn(t)
	for _, network := range []string{"udp", "tcp"} {
		t.Run(network, func(t *testing.T) {
			peer := echo(t)
			var pc net.PacketConn
			if network == "udp" {
				u, err := net.ListenUDP("udp4", &net.UDPAddr{IP: localhost.AsSlice()})
				ok(t, err)
				pc = u
			} else {
				c, err := net.Dial("tcp4", addr.String())
				ok(t, err)
				pc = turnx.NewStreamConn(c)
			}
			local := addrPort(pc.LocalAddr())
			user, pass := Credential(secretOfTools, "alice", time.Now().Add(time.Minute))
			in := make(chan string, 1000)
			a, err := turnx.Allocate(t.Context(), &turnx.ClientConfig{
				Conn: pc, Server: addr, Username: user, Password: pass, OnPacket: func(b []byte, from netip.AddrPort) {
					if from == peer {
						in <- string(b)
					}
				},
			})
			ok(t, err)
			if a.Mapped() != local || a.Relayed().Addr() != localhost {
				t.Errorf("mapped %v, relayed %v; want %v and one of %v", a.Mapped(), a.Relayed(), local, localhost)
			}
			a.Permit(peer.Addr())
			began := time.Now()
			const n = 500
			for i := range n {
				msg := fmt.Sprint("message ", i)
				ok(t, a.WriteTo([]byte(msg), peer))
				select {
				case got := <-in:
					if got != msg {
						t.Fatalf("got %q, want %q", got, msg)
					}
				case <-time.After(5 * time.Second):
					t.Fatalf("no echo of %q, stats %+v", msg, a.Stats())
				}
			}
			t.Logf("%d echoes through coturn in %v, stats %+v", n, time.Since(began), a.Stats())
			ok(t, a.Close())
			if s := a.Stats(); s.Unsigned != 0 || s.Malformed != 0 || s.Refused != 0 {
				t.Errorf("stats %+v", s)
			}
		})
	}
	t.Run("wrong password", func(t *testing.T) {
		u, err := net.ListenUDP("udp4", &net.UDPAddr{IP: localhost.AsSlice()})
		ok(t, err)
		user, _ := Credential(secretOfTools, "alice", time.Now().Add(time.Minute))
		_, err = turnx.Allocate(t.Context(), &turnx.ClientConfig{Conn: u, Server: addr, Username: user, Password: "wrong"})
		if code, is := errors.AsType[*turnx.CodeError](err); !is || code.Code != 401 {
			t.Errorf("wrong password: %v, want 401", err)
		}
	})
}
