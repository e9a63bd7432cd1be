// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e && linux

package netns

import (
	"encoding/binary"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// netnsDir is where the program ip keeps the names of namespaces.
const netnsDir = "/run/netns"

// within calls f on a thread that is in the namespace.
func within(name string, f func() error) error {
	result := make(chan error, 1)
	go func() { result <- visit(name, f) }()
	return <-result
}

// visit moves its thread into the namespace and back. Should the way back fail, the thread stays locked and ends with its
// goroutine. It must not end otherwise: the children that it happens to have started would be killed, see Host.Command.
func visit(name string, f func() error) error {
	runtime.LockOSThread()
	home, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("netns: own namespace: %w", err)
	}
	defer unix.Close(home)
	there, err := unix.Open(netnsDir+"/"+name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("netns: namespace %s: %w", name, err)
	}
	defer unix.Close(there)
	if err := unix.Setns(there, unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("netns: entering %s: %w", name, err)
	}
	err = f()
	if back := unix.Setns(home, unix.CLONE_NEWNET); back != nil {
		return fmt.Errorf("netns: leaving %s: %w", name, back)
	}
	runtime.UnlockOSThread()
	return err
}

// flushConntrack deletes every entry of the connection tracking in the namespace of its thread, which takes one request
// without attributes to the kernel (nfnetlink_conntrack.h).
func flushConntrack() error {
	const (
		subsystem  = 1                       // NFNL_SUBSYS_CTNETLINK
		deleteCT   = 2                       // IPCTNL_MSG_CT_DELETE
		messageLen = unix.SizeofNlMsghdr + 4 // and a struct nfgenmsg of zeros: all families
	)
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return fmt.Errorf("netns: netlink: %w", err)
	}
	defer unix.Close(fd)
	req := make([]byte, messageLen)
	binary.NativeEndian.PutUint32(req, messageLen)
	binary.NativeEndian.PutUint16(req[4:], subsystem<<8|deleteCT)
	binary.NativeEndian.PutUint16(req[6:], unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	if err := unix.Sendto(fd, req, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("netns: netlink: %w", err)
	}
	ack := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, ack, 0)
	if err != nil {
		return fmt.Errorf("netns: netlink: %w", err)
	}
	if n < unix.SizeofNlMsghdr+4 || binary.NativeEndian.Uint16(ack[4:]) != unix.NLMSG_ERROR {
		return fmt.Errorf("netns: netlink: the answer to a flush is % x", ack[:n])
	}
	if code := int32(binary.NativeEndian.Uint32(ack[unix.SizeofNlMsghdr:])); code != 0 {
		return fmt.Errorf("netns: netlink: flush: %w", unix.Errno(-code))
	}
	return nil
}
