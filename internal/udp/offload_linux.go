// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package udp

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// controlSize holds the control messages of a datagram: the size of a segment and the traffic class, and what whoever opened
// the socket may have asked for, such as times and addresses.
const controlSize = 256

// ecnBits are the bits of the traffic class that are the ECN mark. RFC 3168 §5.
const ecnBits = 3

// dontFragment has every datagram leave with the don't-fragment bit, and leaves finding the path's MTU to us: ICMP
// messages, which anybody can send, change nothing. ip(7): IP_PMTUDISC_PROBE.
func dontFragment(fd uintptr, v6 bool) {
	if v6 {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_PROBE)
		return
	}
	_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE)
}

// enableOffloads switches on what the kernel knows. udp(7): UDP_SEGMENT since Linux 4.18, UDP_GRO since 5.0. Older
// kernels do not take traffic classes by control message everywhere, so marks are for those that have GRO too.
func enableOffloads(fd uintptr, v6 bool) (o offloads) {
	_, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_SEGMENT)
	o.segments = err == nil
	o.coalesces = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_GRO, 1) == nil
	if v6 {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVTCLASS, 1)
	} else {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_RECVTOS, 1)
	}
	o.marks = err == nil && o.coalesces
	return o
}

// appendControl appends the control messages that have a datagram cut into segments, unless segment is zero, and
// marked, unless there is no mark. b must have room for them.
func appendControl(b []byte, segment int, mark wire.ECN, v6 bool) []byte {
	if segment > 0 {
		var data []byte
		b, data = appendMessage(b, unix.IPPROTO_UDP, unix.UDP_SEGMENT, 2)
		binary.NativeEndian.PutUint16(data, uint16(segment))
	}
	if mark != wire.NotECT {
		var data []byte
		if v6 {
			b, data = appendMessage(b, unix.IPPROTO_IPV6, unix.IPV6_TCLASS, 4)
		} else {
			b, data = appendMessage(b, unix.IPPROTO_IP, unix.IP_TOS, 4)
		}
		binary.NativeEndian.PutUint32(data, uint32(mark))
	}
	return b
}

// appendMessage appends a control message with size bytes of data, which are the second result.
func appendMessage(b []byte, level, kind int32, size int) (_, data []byte) {
	n := len(b)
	b = b[:n+unix.CmsgSpace(size)]
	clear(b[n:])
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b[n]))
	h.Level, h.Type = level, kind
	h.SetLen(unix.CmsgLen(size))
	return b, b[n+unix.CmsgLen(0):]
}

// parseControl returns the size of the segments of a train, zero if it is none, and the ECN mark.
func parseControl(b []byte) (segment int, mark wire.ECN) {
	for len(b) >= unix.CmsgLen(0) {
		h, data, rest, err := unix.ParseOneSocketControlMessage(b)
		if err != nil {
			break
		}
		switch {
		case h.Level == unix.IPPROTO_UDP && h.Type == unix.UDP_GRO && len(data) >= 2:
			segment = int(binary.NativeEndian.Uint16(data))
			if len(data) >= 4 {
				segment = int(binary.NativeEndian.Uint32(data))
			}
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_TOS && len(data) >= 1:
			mark = wire.ECN(data[0] & ecnBits)
		case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_TCLASS && len(data) >= 4:
			mark = wire.ECN(binary.NativeEndian.Uint32(data) & ecnBits)
		}
		b = rest
	}
	return segment, mark
}
