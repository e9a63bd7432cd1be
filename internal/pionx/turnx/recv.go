// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package turnx

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"

	"github.com/seed-98f0d4c2/runnel/internal/pionx/stunx"
)

// read is the reader. It hands data to OnPacket by itself and responses to the library, after the filter.
func (a *Allocation) read() {
	buf := make([]byte, 65536)
	for bad := 0; ; {
		n, from, err := a.conn.ReadFrom(buf)
		if err != nil {
			// A socket reports what ICMP says about earlier packets: that is news, not the end.
			if bad++; a.stream || errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF) || bad == maxReadErrors {
				// In a goroutine of its own: the library may wait for this one.
				a.end(fmt.Errorf("%w: %w", ErrBroken, err))
				return
			}
			continue
		}
		bad = 0
		if !a.stream && addrPort(from) != a.server || n < channelHeader {
			a.stats.foreign.Add(1)
			continue
		}
		a.receive(buf[:n], from)
	}
}

func (a *Allocation) receive(b []byte, from net.Addr) {
	switch b[0] >> 6 {
	case 1:
		n := int(binary.BigEndian.Uint16(b[2:]))
		if n > len(b)-channelHeader {
			break
		}
		a.mu.Lock()
		c := a.byNumber[binary.BigEndian.Uint16(b)]
		a.mu.Unlock()
		if c != nil {
			a.deliver(b[channelHeader:channelHeader+n], c.peer)
			return
		}
	case 0:
		if !stunx.Sane(b) {
			break
		}
		if m, class := stunx.Type(b); m == stunx.Data && class == stunx.Indication {
			peer, ok := stunx.Get(b, stunx.XORPeerAddress)
			data, ok2 := stunx.Get(b, stunx.DataAttr)
			if ap, ok3 := stunx.XORAddr(peer, stunx.TransactionID(b)); ok && ok2 && ok3 {
				a.deliver(data, netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()))
				return
			}
		} else if class >= stunx.Success {
			if a.tap.response(b) {
				_, _ = a.client.HandleInbound(b, from) // it reports only messages that are not responses
			}
			return
		}
	}
	a.stats.malformed.Add(1)
}

func (a *Allocation) deliver(b []byte, from netip.AddrPort) {
	a.mu.Lock()
	ok := !a.quiet && a.perms[from.Addr()] != nil // the server may not know yet that we forbade it
	a.mu.Unlock()
	if !ok {
		a.stats.unwanted.Add(1)
		return
	}
	a.stats.received.Add(1)
	if a.onPacket != nil {
		a.onPacket(b, from)
	}
}
