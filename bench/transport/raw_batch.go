// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"encoding/binary"
	"net"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A rawReadWriter does what net.UDPConn has no words for: several packets of one size in one call.
type rawReadWriter struct {
	c        *net.UDPConn
	to       netip.AddrPort // package net does not know that the socket is connected
	oob, buf []byte
}

// write sends packets of size bytes each, the last of which may be shorter.
func (w *rawReadWriter) write(b []byte, size, packets int) error {
	if packets == 1 {
		_, err := w.c.Write(b)
		return err
	}
	oob := w.oob[:unix.CmsgSpace(2)]
	clear(oob)
	h := (*unix.Cmsghdr)(unsafe.Pointer(&oob[0]))
	h.Level, h.Type = unix.IPPROTO_UDP, unix.UDP_SEGMENT
	h.SetLen(unix.CmsgLen(2))
	binary.NativeEndian.PutUint16(oob[unix.CmsgLen(0):], uint16(size))
	_, _, err := w.c.WriteMsgUDPAddrPort(b, oob, w.to)
	return err
}

// read returns the packets that the kernel has put together, and their size.
func (w *rawReadWriter) read() (b []byte, size int, err error) {
	n, oobn, _, _, err := w.c.ReadMsgUDPAddrPort(w.buf, w.oob[:cap(w.oob)])
	if err != nil {
		return nil, 0, err
	}
	size = n
	rest := w.oob[:oobn]
	for len(rest) >= unix.SizeofCmsghdr {
		h, data, remainder, err := unix.ParseOneSocketControlMessage(rest)
		if err != nil {
			return nil, 0, err
		}
		if h.Level == unix.IPPROTO_UDP && h.Type == unix.UDP_GRO && len(data) >= 4 {
			size = int(binary.NativeEndian.Uint32(data))
		}
		rest = remainder
	}
	return w.buf[:n], size, nil
}
