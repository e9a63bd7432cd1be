// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package link

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// A Side is one end of a link: a network namespace with a loopback and a TUN device, and nothing else.
type Side struct {
	addr netip.Addr
	tun  int // file descriptor, non-blocking
	work chan func()
}

// Addr returns the address of this side on the link.
func (s *Side) Addr() netip.Addr { return s.addr }

// Do calls f on a thread that is inside the namespace: sockets opened and processes started by f are inside too, and stay
// there. Goroutines started by f are not. f must not call Do.
//
// Processes should have Pdeathsig set: the thread ends with the link.
func (s *Side) Do(f func() error) error {
	done := make(chan error, 1)
	s.work <- func() { done <- f() }
	return <-done
}

// newSide makes a namespace with a device of mtu bytes.
func newSide(addr netip.Addr, mtu int) (*Side, error) {
	s := &Side{addr: addr, work: make(chan func())}
	made := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread, which is of no use to others, ends with the goroutine
		err := s.enter(mtu)
		made <- err
		if err != nil {
			return
		}
		for f := range s.work {
			f()
		}
	}()
	if err := <-made; err != nil {
		return nil, err
	}
	return s, nil
}

// close ends the thread and with it, as soon as its processes have ended, the namespace.
func (s *Side) close() {
	close(s.work)
	_ = unix.Close(s.tun)
}

const device = "link0"

// enter moves the calling thread into a new namespace and furnishes it.
func (s *Side) enter(mtu int) error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		if errors.Is(err, unix.EPERM) {
			return errors.New("link: network namespaces take root: run as root, or leave out the jobs that use a link")
		}
		return fmt.Errorf("link: a network namespace: %w", err)
	}
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("link: /dev/net/tun: %w", err)
	}
	if err := furnish(fd, s.addr, mtu); err != nil {
		_ = unix.Close(fd)
		return err
	}
	s.tun = fd
	return nil
}

func furnish(tun int, addr netip.Addr, mtu int) error {
	req, err := unix.NewIfreq(device)
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(tun, unix.TUNSETIFF, req); err != nil {
		return fmt.Errorf("link: a TUN device: %w", err)
	}
	// The link knows IPv4 only: neighbour discovery would be noise. A kernel without IPv6 does not have the file.
	_ = os.WriteFile("/proc/sys/net/ipv6/conf/all/disable_ipv6", []byte("1"), 0)
	sock, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(sock)
	set := func(name string, what uint, fill func(*unix.Ifreq)) {
		if err != nil {
			return
		}
		var req *unix.Ifreq
		if req, err = unix.NewIfreq(name); err != nil {
			return
		}
		fill(req)
		if err = unix.IoctlIfreq(sock, what, req); err != nil {
			err = fmt.Errorf("link: setting up %s (ioctl %#x): %w", name, what, err)
		}
	}
	inet := func(a netip.Addr) func(*unix.Ifreq) {
		return func(r *unix.Ifreq) { _ = r.SetInet4Addr(a.AsSlice()) }
	}
	number := func(n int) func(*unix.Ifreq) {
		return func(r *unix.Ifreq) { r.SetUint32(uint32(n)) }
	}
	up := func(r *unix.Ifreq) { r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING) }
	set("lo", unix.SIOCSIFFLAGS, up)
	set(device, unix.SIOCSIFMTU, number(mtu))
	// We read at once, and our queue is to be the only one: the device's own must never be the one that overflows.
	set(device, unix.SIOCSIFTXQLEN, number(10_000))
	set(device, unix.SIOCSIFADDR, inet(addr))
	set(device, unix.SIOCSIFNETMASK, inet(netip.AddrFrom4([4]byte{255, 255, 255, 0})))
	set(device, unix.SIOCSIFFLAGS, up)
	return err
}
