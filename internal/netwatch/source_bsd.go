// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package netwatch

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/net/route"
	"golang.org/x/sys/unix"
)

// A routeSocket is a source on systems that report by a routing socket (route(4)).
type routeSocket struct {
	f   *os.File
	buf []byte
}

func open() (source, error) {
	syscall.ForkLock.RLock()
	fd, err := unix.Socket(unix.AF_ROUTE, unix.SOCK_RAW, unix.AF_UNSPEC)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, fmt.Errorf("netwatch: routing socket: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // so that it is polled, and Close ends a read
		_ = unix.Close(fd)
		return nil, fmt.Errorf("netwatch: routing socket: %w", err)
	}
	return &routeSocket{os.NewFile(uintptr(fd), "route"), make([]byte, 64<<10)}, nil
}

func (s *routeSocket) next() error {
	if err := s.f.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	for {
		if matter, err := s.receive(); matter || err != nil {
			return err
		}
	}
}

func (s *routeSocket) drain(d time.Duration) error {
	if err := s.f.SetReadDeadline(time.Now().Add(d)); err != nil {
		return err
	}
	for {
		switch _, err := s.receive(); {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		case err != nil:
			return err
		}
	}
}

// receive takes one message in and says whether it may be about what is watched.
func (s *routeSocket) receive() (bool, error) {
	n, err := s.f.Read(s.buf)
	switch {
	case errors.Is(err, unix.ENOBUFS): // messages were lost: reading makes up for them
		return true, nil
	case err != nil:
		return false, fmt.Errorf("netwatch: routing socket: %w", err)
	}
	return matters(s.buf[:n]), nil
}

// matters says whether a message may be about what is watched. Routes to single hosts come and go with traffic, ours too.
func matters(b []byte) bool {
	msgs, err := route.ParseRIB(route.RIBTypeRoute, b)
	if err != nil || len(msgs) == 0 {
		return len(b) > 3 && b[3] != unix.RTM_GET && b[3] != unix.RTM_MISS
	}
	for _, m := range msgs {
		switch m := m.(type) {
		case *route.RouteMessage:
			change := m.Type == unix.RTM_ADD || m.Type == unix.RTM_DELETE || m.Type == unix.RTM_CHANGE
			if change && m.Flags&unix.RTF_HOST == 0 {
				return true
			}
		case *route.InterfaceMulticastAddrMessage:
		default:
			return true
		}
	}
	return false
}

func (s *routeSocket) read() (State, error) { return list() }

func (s *routeSocket) close() { _ = s.f.Close() }
