// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package udp

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// A moodyConn stands between a Conn and its socket, and fails as told.
type moodyConn struct {
	*net.UDPConn
	fail  func(size, segment int, mark wire.ECN) syscall.Errno // zero: no
	calls []string
}

func (c *moodyConn) errno(call string, b, oob []byte) error {
	segment, mark := 0, wire.NotECT
	for len(oob) > 0 {
		h, data, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			return err
		}
		if h.Type == unix.UDP_SEGMENT {
			segment = int(data[0]) | int(data[1])<<8
		} else {
			mark = wire.ECN(data[0])
		}
		oob = rest
	}
	c.calls = append(c.calls, fmt.Sprintf("%s %d/%d/%d", call, len(b), segment, mark))
	if no := c.fail(len(b), segment, mark); no != 0 {
		return &net.OpError{Op: "write", Err: os.NewSyscallError("sendmsg", no)}
	}
	return nil
}

func (c *moodyConn) WriteToUDPAddrPort(b []byte, _ netip.AddrPort) (int, error) {
	return len(b), c.errno("to", b, nil)
}

func (c *moodyConn) WriteMsgUDPAddrPort(b, oob []byte, _ netip.AddrPort) (n, oobn int, err error) {
	return len(b), len(oob), c.errno("msg", b, oob)
}

func TestRefusal(t *testing.T) {
	const size = 2500 // two datagrams of 1000 bytes and one of 500
	type write struct {
		mark  wire.ECN
		sent  int
		err   syscall.Errno
		calls string
	}
	whole := "[msg 2500/1000/0]"
	single := "[to 1000/0/0 to 1000/0/0 to 500/0/0]"
	both := "[msg 2500/1000/0 to 1000/0/0 to 1000/0/0 to 500/0/0]"
	train := func(no syscall.Errno) func(int, int, wire.ECN) syscall.Errno {
		return func(_, segment int, _ wire.ECN) syscall.Errno {
			if segment > 0 {
				return no
			}
			return 0
		}
	}
	for _, tt := range []struct {
		name   string
		fail   func(size, segment int, mark wire.ECN) syscall.Errno
		writes []write
	}{
		{"no checksum offload", train(unix.EIO), []write{{sent: 3, calls: both}, {sent: 3, calls: single}}},
		{"an old kernel", train(unix.EINVAL), []write{{sent: 3, calls: both}, {sent: 3, calls: single}}},
		{"unknown option", train(unix.ENOPROTOOPT), []write{{sent: 3, calls: both}, {sent: 3, calls: single}}},
		{"short of memory", train(unix.ENOBUFS), []write{{err: unix.ENOBUFS, calls: whole}, {err: unix.ENOBUFS, calls: whole}}},
		{"too long for the interface", func(n, segment int, _ wire.ECN) syscall.Errno {
			if n > 900 {
				return unix.EMSGSIZE
			}
			return 0
		}, []write{{sent: 1, err: unix.EMSGSIZE, calls: both}, {sent: 1, err: unix.EMSGSIZE, calls: both}}},
		{"marks refused", func(_, _ int, mark wire.ECN) syscall.Errno {
			if mark != 0 {
				return unix.EINVAL
			}
			return 0
		}, []write{
			{
				mark: wire.ECT0, sent: 3,
				calls: "[msg 2500/1000/2 msg 1000/0/2 to 1000/0/0 to 1000/0/0 to 500/0/0]",
			},
			{mark: wire.ECT0, sent: 3, calls: whole},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			u := listen(t, "udp4").(*net.UDPConn)
			m := &moodyConn{UDPConn: u, fail: tt.fail}
			c := &Conn{pc: u, fast: m, msgs: m}
			c.segments.Store(true)
			c.marks.Store(true)
			for i, w := range tt.writes {
				m.calls = nil
				sent, err := c.WriteBatch(make([]byte, size), 1000, netip.MustParseAddrPort("192.0.2.1:9"), w.mark)
				if sent != w.sent || (err == nil) != (w.err == 0) || err != nil && !errors.Is(err, w.err) {
					t.Errorf("write %d: WriteBatch = %d, %v; want %d, %v", i, sent, err, w.sent, w.err)
				}
				if got := fmt.Sprint(m.calls); got != w.calls {
					t.Errorf("write %d: calls are %s, want %s", i, got, w.calls)
				}
			}
		})
	}
}

func TestClosedEndsBatch(t *testing.T) {
	c := New(listen(t, "udp4"))
	c.Close()
	n, err := c.WriteBatch(make([]byte, 300*1000), 1000, netip.MustParseAddrPort("127.0.0.1:9"), wire.ECT0)
	if n != 0 || !errors.Is(err, net.ErrClosed) {
		t.Errorf("WriteBatch after Close = %d, %v; want net.ErrClosed", n, err)
	}
}

func TestMarks(t *testing.T) {
	for _, network := range []string{"udp4", "udp6"} {
		t.Run(network, func(t *testing.T) {
			a, b := New(listen(t, network)), New(listen(t, network))
			if !a.marks.Load() {
				t.Skip("this kernel is older than Linux 5.0")
			}
			buf := make([]byte, MaxBatch)
			for _, mark := range []wire.ECN{wire.NotECT, wire.ECT0, wire.ECT1, wire.CE} {
				for _, size := range []int{100, 1000} { // one datagram, a train
					if _, err := a.WriteBatch(make([]byte, size), 100, b.LocalAddr(), mark); err != nil {
						t.Fatal(err)
					}
					for got := 0; got < size; {
						r, err := b.ReadBatch(buf)
						if err != nil || r.ECN != mark || r.Segment != 100 {
							t.Fatalf("ReadBatch = %+v, %v; want mark %d, segments of 100", r, err, mark)
						}
						got += r.N
					}
				}
			}
		})
	}
}

func TestDontFragment(t *testing.T) {
	for _, network := range []string{"udp4", "udp6"} {
		u := listen(t, network).(*net.UDPConn)
		New(u)
		rc, err := u.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		level, option, want := unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE
		if network == "udp6" {
			level, option, want = unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_PROBE
		}
		_ = rc.Control(func(fd uintptr) {
			if got, err := unix.GetsockoptInt(int(fd), level, option); got != want || err != nil {
				t.Errorf("%s: MTU discovery is %d, %v; want %d", network, got, err, want)
			}
		})
	}
}

func TestParseControlGarbage(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	buf := make([]byte, controlSize)
	for range 100_000 {
		b := appendControl(buf[:0], int(rng.Uint32N(2000)), wire.ECN(rng.Uint32N(4)), rng.Uint32N(2) == 0)
		for range rng.IntN(4) {
			if len(b) > 0 {
				b[rng.IntN(len(b))] = byte(rng.Uint32N(40))
			}
		}
		segment, mark := parseControl(b[:rng.IntN(len(b)+1)])
		if segment < 0 || mark > wire.CE {
			t.Fatalf("parseControl = %d, %d", segment, mark)
		}
	}
}

func TestNoAllocationsPerTrain(t *testing.T) {
	a, b := New(listen(t, "udp4")), New(listen(t, "udp4"))
	to := b.LocalAddr()
	msg, buf := make([]byte, 12000), make([]byte, MaxBatch)
	n := testing.AllocsPerRun(100, func() {
		if _, err := a.WriteBatch(msg, 1200, to, wire.ECT0); err != nil {
			t.Fatal(err)
		}
		for got := 0; got < len(msg); {
			r, err := b.ReadBatch(buf)
			if err != nil {
				t.Fatal(err)
			}
			got += r.N
		}
	})
	if n != 0 {
		t.Errorf("a train sent and received allocates %v times, want 0", n)
	}
}

// TestForeignControlMessages: whoever opened the socket may have asked for more than we do. A train whose segment size
// did not fit the buffer for control messages would be taken for one datagram.
func TestForeignControlMessages(t *testing.T) {
	for _, network := range []string{"udp4", "udp6"} {
		t.Run(network, func(t *testing.T) {
			a, u := New(listen(t, network)), listen(t, network).(*net.UDPConn)
			rc, err := u.SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			_ = rc.Control(func(fd uintptr) {
				set := func(level, option int) {
					if err := unix.SetsockoptInt(int(fd), level, option, 1); err != nil {
						t.Errorf("option %d of level %d: %v", option, level, err)
					}
				}
				set(unix.SOL_SOCKET, unix.SO_TIMESTAMPNS)
				set(unix.SOL_SOCKET, unix.SO_RXQ_OVFL)
				if network == "udp4" {
					set(unix.IPPROTO_IP, unix.IP_PKTINFO)
					set(unix.IPPROTO_IP, unix.IP_RECVTTL)
				} else {
					set(unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO)
					set(unix.IPPROTO_IPV6, unix.IPV6_RECVHOPLIMIT)
				}
			})
			b := New(u)
			if !a.segments.Load() || !b.marks.Load() {
				t.Skip("this kernel is older than Linux 5.0")
			}
			buf := make([]byte, MaxBatch)
			for range 3 {
				if _, err := a.WriteBatch(make([]byte, 1000), 100, b.LocalAddr(), wire.ECT0); err != nil {
					t.Fatal(err)
				}
				for got := 0; got < 1000; {
					r, err := b.ReadBatch(buf)
					if err != nil || r.Segment != 100 || r.ECN != wire.ECT0 {
						t.Fatalf("ReadBatch = %+v, %v; want segments of 100, marked", r, err)
					}
					got += r.N
				}
			}
		})
	}
}
