// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package turnx

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/pionx/stunx"
)

type arrival struct {
	data string
	from netip.AddrPort
}

func TestAllocateAndExchange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		in := make(chan arrival, 10)
		start := time.Now()
		a := l.allocate(func(b []byte, from netip.AddrPort) { in <- arrival{string(b), from} })
		if d := time.Since(start); d > 4*oneWay+10*time.Millisecond {
			t.Errorf("Allocate took %v, want two round trips", d)
		}
		if want := netip.AddrPortFrom(serverAddr.Addr(), 50001); a.Relayed() != want || a.Mapped() != clientAddr {
			t.Errorf("relayed %v, mapped %v, want %v, %v", a.Relayed(), a.Mapped(), want, clientAddr)
		}
		peer := l.listen(l.peer, peerAddr)
		defer peer.Close()

		start = time.Now()
		a.Permit(peerAddr.Addr())
		ok(t, a.WriteTo([]byte("first"), peerAddr))
		if d := time.Since(start); d != 0 {
			t.Errorf("Permit and WriteTo blocked for %v", d)
		}
		got, from := recvPeer(t, peer)
		if got != "first" || from != a.Relayed() {
			t.Fatalf("peer got %q from %v, want the first packet behind the permission request", got, from)
		}
		if d := time.Since(start); d > 2*oneWay+10*time.Millisecond {
			t.Errorf("the first packet took %v, want one way through the relay: it must not wait for the permission", d)
		}
		if _, err := peer.WriteTo([]byte("hello"), net.UDPAddrFromAddrPort(a.Relayed())); err != nil {
			t.Fatal(err)
		}
		if p := <-in; p != (arrival{"hello", peerAddr}) {
			t.Errorf("got %v, want hello from the peer", p)
		}
		// By now the channel is bound: data goes both ways as channel data.
		time.Sleep(time.Second)
		before := l.count(stunx.Send)
		ok(t, a.WriteTo([]byte("by channel"), peerAddr))
		if got, _ := recvPeer(t, peer); got != "by channel" || l.count(stunx.Send) != before || l.count(stunx.ChannelBind) != 1 {
			t.Errorf("got %q, %d indications more, %d binds; want channel data", got, l.count(stunx.Send)-before, l.count(stunx.ChannelBind))
		}
		_, _ = peer.WriteTo([]byte("back"), net.UDPAddrFromAddrPort(a.Relayed()))
		if p := <-in; p != (arrival{"back", peerAddr}) {
			t.Errorf("got %v, want back from the peer", p)
		}
		ok(t, a.Close())
		if !errors.Is(a.Err(), net.ErrClosed) || l.srv.Allocations() != 0 || l.open.Load() != 0 {
			t.Errorf("after Close: %v, %d allocations, %d relayed sockets", a.Err(), l.srv.Allocations(), l.open.Load())
		}
		if err := a.WriteTo([]byte("x"), peerAddr); !errors.Is(err, net.ErrClosed) {
			t.Errorf("WriteTo after Close: %v", err)
		}
	})
}

func TestWriteToRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		denied := netip.MustParseAddr("1.0.0.9")
		l.deny.Store(&denied)
		c := l.config()
		conn := &heldConn{PacketConn: c.Conn}
		c.Conn = conn
		a, err := Allocate(t.Context(), c)
		ok(t, err)
		defer a.Close()
		if err := a.WriteTo([]byte("x"), peerAddr); err != ErrNoPermission {
			t.Errorf("unpermitted: %v, want ErrNoPermission", err)
		}
		a.Permit(denied)
		time.Sleep(time.Second)
		err = a.WriteTo([]byte("x"), netip.AddrPortFrom(denied, 1))
		if _, isCode := errors.AsType[*CodeError](err); !errors.Is(err, ErrNoPermission) || !isCode {
			t.Errorf("refused by the server: %v, want ErrNoPermission with the code", err)
		}
		if err := a.WriteTo(make([]byte, MaxPacket+1), peerAddr); err != ErrTooLarge {
			t.Errorf("too large: %v", err)
		}
		a.Permit(peerAddr.Addr())
		full := 0
		conn.hold.Lock()
		for range queueLen + 50 {
			if a.WriteTo([]byte("x"), peerAddr) == ErrQueueFull {
				full++
			}
		}
		// One may be out of the queue and on its way into the connection.
		if s := a.Stats(); full != 50 && full != 49 || s.QueueFull != uint64(full) || s.NoPermission != 2 {
			t.Errorf("%d times ErrQueueFull, stats %+v; want 49 or 50, and 2 without permission", full, s)
		}
		conn.hold.Unlock()
		time.Sleep(time.Second)
		if s := a.Stats(); s.Sent != uint64(queueLen+50-full) {
			t.Errorf("stats %+v; want all sent but the %d refused", s, full)
		}
		a.Forbid(peerAddr.Addr())
		if err := a.WriteTo([]byte("x"), peerAddr); err != ErrNoPermission {
			t.Errorf("forbidden: %v, want ErrNoPermission", err)
		}
		many := make([]netip.Addr, 0, 2*MaxPermissions)
		for i := range 2 * MaxPermissions {
			many = append(many, netip.AddrFrom4([4]byte{1, 1, byte(i >> 8), byte(i)}))
		}
		a.Permit(many...)
		if s := a.Stats(); s.OverPeers == 0 {
			t.Errorf("%d permissions accepted, want a cap of %d", len(many), MaxPermissions)
		}
		time.Sleep(time.Second)
	})
}

func TestAllocateFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		c := l.config()
		c.Password = "wrong"
		closed := 0
		c.Conn = &onClose{PacketConn: c.Conn, f: func() { closed++ }}
		if _, err := Allocate(t.Context(), c); !isCode(err, "allocate", 400) { // what the bare library answers
			t.Errorf("wrong password: %v, want a CodeError", err)
		}
		if closed != 1 {
			t.Error("the connection is still open after a failed Allocate")
		}
		l.cut.Store(true)
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := Allocate(ctx, l.config()); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("cancelled: %v after %v", err, time.Since(start))
		}
		if _, err := Allocate(t.Context(), l.config()); !errors.Is(err, ErrTimeout) {
			t.Errorf("no server: %v, want ErrTimeout", err)
		}
		if _, err := Allocate(t.Context(), &ClientConfig{}); err == nil {
			t.Error("empty config accepted")
		}
	})
}

// Permissions last 5 minutes, channels and allocations 10: an hour must not be noticed. The nonce goes stale on the way.
func TestStaysAliveForHours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		in := make(chan arrival, 10)
		a := l.allocate(func(b []byte, from netip.AddrPort) { in <- arrival{string(b), from} })
		defer a.Close()
		peer := l.listen(l.peer, peerAddr)
		defer peer.Close()
		a.Permit(peerAddr.Addr())
		for i := range 30 {
			msg := fmt.Sprint("message ", i)
			ok(t, a.WriteTo([]byte(msg), peerAddr))
			if got, _ := recvPeer(t, peer); got != msg {
				t.Fatalf("after %d intervals of 7 minutes the peer got %q, want %q", i, got, msg)
			}
			time.Sleep(7 * time.Minute)
			_, _ = peer.WriteTo([]byte(msg), net.UDPAddrFromAddrPort(a.Relayed()))
			if p := <-in; p.data != msg { // blocks for ever, which synctest reports, if the permission lapsed
				t.Fatalf("got %q, want %q", p.data, msg)
			}
		}
		if n := l.count(stunx.ChannelBind); n > 60 {
			t.Errorf("%d ChannelBinds in three and a half hours", n)
		}
	})
}

// An idle peer costs a permission refresh every four minutes and no channel.
func TestForbidStopsRefreshing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		a := l.allocate(nil)
		defer a.Close()
		a.Permit(peerAddr.Addr())
		time.Sleep(21 * time.Minute)
		if n := l.count(stunx.CreatePermission); n != 6 {
			t.Errorf("%d permission requests in 21 minutes, want 6", n)
		}
		a.Forbid(peerAddr.Addr())
		time.Sleep(21 * time.Minute)
		if n := l.count(stunx.CreatePermission); n != 6 {
			t.Errorf("%d permission requests after Forbid, want still 6", n)
		}
	})
}

func TestRefreshFailureEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		a := l.allocate(nil)
		time.Sleep(time.Minute)
		l.cut.Store(true)
		start := time.Now()
		<-a.Done()
		if d := time.Since(start); a.Err() != ErrExpired || d != 9*time.Minute-2*oneWay && d > 9*time.Minute {
			t.Errorf("ended with %v after %v, want ErrExpired when the lifetime is over", a.Err(), d)
		}
		ok(t, a.Close())
		if a.Err() != ErrExpired {
			t.Errorf("Err after Close = %v, want the first reason", a.Err())
		}
		l.cut.Store(false)
	})
}

// An outage shorter than the lifetime is survived, also when it swallows the library's one refresh.
func TestRefreshRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		a := l.allocate(nil)
		defer a.Close()
		time.Sleep(4 * time.Minute)
		l.cut.Store(true)
		time.Sleep(4 * time.Minute)
		l.cut.Store(false)
		time.Sleep(time.Hour)
		if a.Err() != nil || l.srv.Allocations() != 1 {
			t.Errorf("lost to an outage of 4 minutes: %v, %d allocations", a.Err(), l.srv.Allocations())
		}
	})
}

// refuseRefresh has every refresh answered with 437, Allocation Mismatch.
func (l *lab) refuseRefresh() { l.refuse(stunx.Refresh, 437) }

// refuse has every request of a kind answered with an error.
func (l *lab) refuse(method stunx.Method, code int) {
	refused := func(b []byte) bool {
		m, c := stunx.Type(b)
		if m != method || c != stunx.Success {
			return false
		}
		b[0], b[1] = 0x01, 0x10|byte(method) // error response
		copy(b[20:], stunx.NewBuilder(nil, 0, 0, [12]byte{}).AddError(code).Bytes()[20:])
		binary.BigEndian.PutUint16(b[2:], 8)
		return true
	}
	cut := func(b []byte) bool { // a whole message must arrive
		if refused(b) {
			_, _ = l.srv.conn.PacketConn.(*countConn).PacketConn.WriteTo(bytes.Clone(b[:28]), net.UDPAddrFromAddrPort(clientAddr))
			return false
		}
		return true
	}
	l.filter.Store(&cut)
}

// A server that has no room for a permission is asked again later; one that does not want to give it is not.
func TestServerIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		a := l.allocate(nil)
		defer a.Close()
		for code, again := range map[int]bool{508: true, 403: false} {
			l.refuse(stunx.CreatePermission, code)
			a.Permit(peerAddr.Addr())
			time.Sleep(time.Second)
			if err := a.WriteTo([]byte("x"), peerAddr); !errors.Is(err, ErrNoPermission) {
				t.Errorf("%d: %v, want ErrNoPermission", code, err)
			}
			l.filter.Store(nil)
			time.Sleep(2 * time.Minute)
			if err := a.WriteTo([]byte("x"), peerAddr); (err == nil) != again {
				t.Errorf("two minutes after %d: %v, want a permission: %t", code, err, again)
			}
			a.Forbid(peerAddr.Addr())
		}
	})
}

func TestServerRefusesRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		a := l.allocate(nil)
		defer a.Close()
		l.refuseRefresh()
		start := time.Now()
		<-a.Done()
		if !isCode(a.Err(), "refresh", 437) || time.Since(start) > 6*time.Minute {
			t.Errorf("ended with %v after %v, want 437 at the first refresh", a.Err(), time.Since(start))
		}
		l.filter.Store(nil)
	})
}

// TestCheck: one round trip tells whether the allocation is there.
func TestCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		a := l.allocate(nil)
		defer a.Close()
		time.Sleep(time.Minute)
		start := time.Now()
		a.Check()
		time.Sleep(2*oneWay + time.Millisecond)
		if at := a.Confirmed(); at.Sub(start) != 2*oneWay || a.Err() != nil {
			t.Errorf("confirmed %v after the question, %v; want one round trip, %v", at.Sub(start), a.Err(), 2*oneWay)
		}
		l.cut.Store(true)
		a.Check()
		time.Sleep(time.Second)
		l.cut.Store(false)
		if at := a.Confirmed(); at.After(start.Add(2*oneWay)) || a.Err() != nil {
			t.Errorf("confirmed at %v, %v, though nothing arrived", at.Sub(start), a.Err())
		}
		l.refuseRefresh()
		start = time.Now()
		a.Check()
		<-a.Done()
		if d := time.Since(start); !isCode(a.Err(), "refresh", 437) || d != 2*oneWay {
			t.Errorf("ended with %v after %v, want 437 after %v", a.Err(), d, 2*oneWay)
		}
		a.Check() // does nothing
		l.filter.Store(nil)
	})
}

// TestAbandon: an allocation that is abandoned costs no time, and is no obstacle to the next one from the same address.
func TestAbandon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		a := l.allocate(nil)
		start := time.Now()
		a.Abandon()
		ok(t, a.Close())
		if d := time.Since(start); d != 0 || !errors.Is(a.Err(), ErrBroken) {
			t.Errorf("abandoned in %v with %v, want at once and ErrBroken", d, a.Err())
		}
		b := l.allocate(nil)
		if n := l.srv.Allocations(); n != 1 || b.Relayed() == a.Relayed() {
			t.Errorf("%d allocations at the server, %v after %v; want a new one", n, b.Relayed(), a.Relayed())
		}
		ok(t, b.Close())
	})
}

// A response that nobody signed changes nothing, even with the right transaction ID.
func TestUnsignedResponsesAreIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		a := l.allocate(nil)
		defer a.Close()
		forge := func(b []byte) bool {
			if m, c := stunx.Type(b); m == stunx.CreatePermission && c == stunx.Success {
				b[len(b)-1] ^= 1
			}
			return true
		}
		l.filter.Store(&forge)
		a.Permit(peerAddr.Addr())
		time.Sleep(time.Second)
		if s := a.Stats(); s.Unsigned == 0 {
			t.Errorf("stats %+v, want unsigned responses counted", s)
		}
		l.filter.Store(nil)
		time.Sleep(20 * time.Second)
		a.mu.Lock()
		got := !a.perms[peerAddr.Addr()].until.IsZero()
		a.mu.Unlock()
		if !got {
			t.Error("no permission after the forger went away")
		}
	})
}

func TestHostileServerPackets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		a := l.allocate(func([]byte, netip.AddrPort) { t.Error("a forged packet was delivered") })
		defer a.Close()
		evil := l.listen(l.peer, peerAddr)
		defer evil.Close()
		tx := stunx.NewTransaction()
		data := stunx.NewBuilder(nil, stunx.Data, stunx.Indication, tx)
		for _, b := range [][]byte{
			nil,
			{0},
			{0x40, 0, 0, 9},
			{0x40, 0, 0, 0},
			[]byte("garbage"), make([]byte, 1400),
			data.Bytes(),
			stunx.NewBuilder(nil, stunx.Data, stunx.Indication, tx).Add(stunx.DataAttr, []byte("data")).Add(stunx.XORPeerAddress, nil).Bytes(),
			stunx.NewBuilder(nil, stunx.Data, stunx.Indication, tx).AddXORAddr(stunx.XORPeerAddress, peerAddr).Add(stunx.DataAttr, []byte("x")).Bytes(),
			stunx.NewBuilder(nil, stunx.Binding, stunx.Request, tx).Bytes(),
			stunx.NewBuilder(nil, stunx.Refresh, stunx.Success, tx).Bytes(),
			stunx.NewBuilder(nil, stunx.Allocate, stunx.Failure, tx).AddError(300).Bytes(),
		} {
			_, _ = evil.WriteTo(b, net.UDPAddrFromAddrPort(clientAddr)) // from a stranger
			if len(b) > 0 {
				_, _ = l.srv.conn.WriteTo(b, net.UDPAddrFromAddrPort(clientAddr)) // from the server
			}
		}
		time.Sleep(time.Second)
		if s := a.Stats(); a.Err() != nil || s.Foreign < 10 || s.Malformed < 5 || s.Unwanted != 1 || s.Unsigned != 1 {
			t.Errorf("err %v, stats %+v", a.Err(), s)
		}
	})
}

func TestStreamAllocation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		c, s := net.Pipe()
		srv, err := NewServer(&ServerConfig{
			Conn: NewStreamConn(addressed{s}), Realm: "r",
			Key:    func(u, r string, _ netip.AddrPort) ([]byte, bool) { return stunx.LongTermKey(u, r, "secret"), true },
			Permit: func(netip.AddrPort, netip.Addr) bool { return true },
			Relay: func(int) (net.PacketConn, netip.AddrPort, error) {
				ap := netip.MustParseAddrPort("1.0.0.1:50500")
				return l.listen(l.server, ap), ap, nil
			},
		})
		ok(t, err)
		in := make(chan arrival, 1)
		a, err := Allocate(t.Context(), &ClientConfig{
			Conn: NewStreamConn(c), Server: serverAddr, Username: "alice", Password: "secret",
			OnPacket: func(b []byte, from netip.AddrPort) { in <- arrival{string(b), from} },
		})
		ok(t, err)
		peer := l.listen(l.peer, peerAddr)
		defer peer.Close()
		a.Permit(peerAddr.Addr())
		for range 2 { // an indication, then channel data of a length that needs padding
			ok(t, a.WriteTo([]byte("seven b"), peerAddr))
			if got, _ := recvPeer(t, peer); got != "seven b" {
				t.Fatalf("peer got %q", got)
			}
			_, _ = peer.WriteTo([]byte("reply"), net.UDPAddrFromAddrPort(a.Relayed()))
			if p := <-in; p != (arrival{"reply", peerAddr}) {
				t.Fatalf("got %v", p)
			}
			time.Sleep(time.Second)
		}
		s.Close() // the server vanishes
		<-a.Done()
		if !errors.Is(a.Err(), ErrBroken) {
			t.Errorf("ended with %v, want ErrBroken", a.Err())
		}
		ok(t, a.Close())
		_ = srv.Close()
		synctest.Wait()
	})
}

// addressed gives one end of a pipe the addresses of a TCP connection, which the library insists on.
type addressed struct{ net.Conn }

func (addressed) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(clientAddr) }
func (addressed) LocalAddr() net.Addr  { return net.TCPAddrFromAddrPort(serverAddr) }

func TestWriteToAllocatesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		a := l.allocate(nil)
		defer a.Close()
		a.Permit(peerAddr.Addr())
		b := make([]byte, 1200)
		for range 4 * queueLen { // grow the queue's memory
			_ = a.WriteTo(b, peerAddr)
			synctest.Wait()
		}
		a.mu.Lock()
		n := testing.AllocsPerRun(queueLen/2, func() { a.queue.push(b, peerAddr); var p packet; _ = p })
		a.mu.Unlock()
		if n != 0 {
			t.Errorf("%v allocations per queued packet, want 0", n)
		}
	})
}

func TestLoggerIsSampled(t *testing.T) {
	var buf bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		log := libraryLog(debugLogger(&buf)).NewLogger("x")
		for range 10000 {
			log.Errorf("bad packet from %s", "somewhere")
		}
		time.Sleep(logEvery)
		log.Errorf("one more")
	})
	if n := bytes.Count(buf.Bytes(), []byte("\n")); n != 2 || !bytes.Contains(buf.Bytes(), []byte("skipped=9999")) {
		t.Errorf("%d lines, want 2 with a count of the others:\n%s", n, buf.String())
	}
}
