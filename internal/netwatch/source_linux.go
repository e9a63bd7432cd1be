// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package netwatch

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// groups are the multicast groups of rtnetlink(7) that report what is watched.
var groups = []uint32{
	unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE,
	unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV6_RULE,
}

// An rtnetlink is a source on Linux.
type rtnetlink struct {
	events *netlink.Conn // reports
	ask    *netlink.Conn // answers questions. It stays in the namespace it was opened in
}

func open() (source, error) {
	events, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return nil, fmt.Errorf("netwatch: rtnetlink: %w", err)
	}
	ask, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		_ = events.Close()
		return nil, fmt.Errorf("netwatch: rtnetlink: %w", err)
	}
	n := &rtnetlink{events, ask}
	for _, g := range groups {
		if err := events.JoinGroup(g); err != nil {
			n.close()
			return nil, fmt.Errorf("netwatch: rtnetlink: group %d: %w", g, err)
		}
	}
	return n, nil
}

func (n *rtnetlink) next() error {
	if err := n.events.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	for {
		if matter, err := n.receive(); matter || err != nil {
			return err
		}
	}
}

func (n *rtnetlink) drain(d time.Duration) error {
	if err := n.events.SetReadDeadline(time.Now().Add(d)); err != nil {
		return err
	}
	for {
		switch _, err := n.receive(); {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		case err != nil:
			return err
		}
	}
}

// receive takes in one datagram of messages and says whether one of them may be about what is watched.
func (n *rtnetlink) receive() (bool, error) {
	msgs, err := n.events.Receive()
	switch {
	case errors.Is(err, unix.ENOBUFS): // messages were lost: reading makes up for them
		return true, nil
	case err != nil:
		return false, fmt.Errorf("netwatch: rtnetlink: %w", err)
	}
	return slices.ContainsFunc(msgs, func(m netlink.Message) bool { return matters(uint16(m.Header.Type), m.Data) }), nil
}

func (n *rtnetlink) close() {
	_ = n.events.Close()
	_ = n.ask.Close()
}

// maxInterrupted is how often a list is asked for that changes while it is given. What changes is reported too, so after
// that it is taken as it is.
const maxInterrupted = 3

func (n *rtnetlink) read() (State, error) {
	links, err := n.dump(unix.RTM_GETLINK, linkRequest())
	if err != nil {
		return State{}, err
	}
	addrs, err := n.dump(unix.RTM_GETADDR, addrRequest())
	if err != nil {
		return State{}, err
	}
	s, names := parseState(links, addrs)
	s.Default4 = n.wayTo(names, routeRequest(public4))
	s.Default6 = n.wayTo(names, routeRequest(public6))
	return s.sorted(), nil
}

// dump asks for a list, and returns the bodies of its messages.
func (n *rtnetlink) dump(typ uint16, body []byte) ([][]byte, error) {
	for try := 1; ; try++ {
		msgs, err := n.ask.Execute(netlink.Message{
			Header: netlink.Header{Type: netlink.HeaderType(typ), Flags: netlink.Request | netlink.Dump},
			Data:   body,
		})
		if err != nil {
			return nil, fmt.Errorf("netwatch: rtnetlink: %w", err)
		}
		var out [][]byte
		whole := true
		for _, m := range msgs {
			whole = whole && m.Header.Flags&netlink.DumpInterrupted == 0
			out = append(out, m.Data)
		}
		if whole || try == maxInterrupted {
			return out, nil
		}
	}
}

// wayTo looks a route up. All that can go wrong means that there is none.
func (n *rtnetlink) wayTo(names map[uint32]string, body []byte) Route {
	msgs, err := n.ask.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.RTM_GETROUTE, Flags: netlink.Request},
		Data:   body,
	})
	if err != nil || len(msgs) != 1 {
		return Route{}
	}
	return parseRoute(msgs[0].Data, names)
}

// namespace names the network namespace of the calling thread.
func namespace() string {
	name, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil { // no /proc: then nobody can tell them apart
		return ""
	}
	return name
}
