// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package netwatch

import (
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/windows"
)

// callback is what Windows calls on a thread of its own. It is made once, for Go never frees a callback, and wakes every
// source there is.
var callback = sync.OnceValue(func() uintptr {
	return windows.NewCallback(func(_, _, _ uintptr) uintptr {
		notified.mu.Lock()
		defer notified.mu.Unlock()
		for s := range notified.sources {
			select {
			case s.wake <- struct{}{}:
			default:
			}
		}
		return 0
	})
})

var notified struct {
	mu      sync.Mutex
	sources map[*helper]struct{}
}

// A helper is a source that the IP Helper API wakes.
type helper struct {
	wake    chan struct{}
	done    chan struct{}
	once    sync.Once
	handles []windows.Handle
}

func open() (source, error) {
	s := &helper{wake: make(chan struct{}, 1), done: make(chan struct{})}
	notified.mu.Lock()
	if notified.sources == nil {
		notified.sources = make(map[*helper]struct{})
	}
	notified.sources[s] = struct{}{}
	notified.mu.Unlock()
	for _, subscribe := range []func(*windows.Handle) error{
		func(h *windows.Handle) error {
			return windows.NotifyIpInterfaceChange(windows.AF_UNSPEC, callback(), nil, false, h)
		},
		func(h *windows.Handle) error {
			return windows.NotifyUnicastIpAddressChange(windows.AF_UNSPEC, callback(), nil, false, h)
		},
		func(h *windows.Handle) error {
			return windows.NotifyRouteChange2(windows.AF_UNSPEC, callback(), nil, false, h)
		},
	} {
		var h windows.Handle
		if err := subscribe(&h); err != nil {
			s.close()
			return nil, fmt.Errorf("netwatch: IP Helper: %w", err)
		}
		s.handles = append(s.handles, h)
	}
	return s, nil
}

func (s *helper) next() error {
	select {
	case <-s.wake:
		return nil
	case <-s.done:
		return net.ErrClosed
	}
}

func (s *helper) drain(d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.done:
		return net.ErrClosed
	}
	select { // what came meanwhile will be seen by the reading
	case <-s.wake:
	default:
	}
	return nil
}

func (s *helper) read() (State, error) { return list() }

func (s *helper) close() {
	s.once.Do(func() {
		close(s.done)
		for _, h := range s.handles { // waits for callbacks that run, so no lock may be held
			_ = windows.CancelMibChangeNotify2(h)
		}
		notified.mu.Lock()
		delete(notified.sources, s)
		notified.mu.Unlock()
	})
}
