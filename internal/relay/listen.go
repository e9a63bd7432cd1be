// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"context"
	"fmt"
	"net"
	"syscall"
)

// socketBuffer is what is asked of the kernel for each UDP socket of the server, in bytes each way. The kernel grants
// less without a word when net.core.rmem_max is lower.
const socketBuffer = 4 << 20

// ListenUDP opens n UDP sockets on one address, among which the kernel spreads clients (Linux only; elsewhere n must be
// 1). Port 0 picks one port for all.
func ListenUDP(ctx context.Context, addr string, n int) ([]net.PacketConn, error) {
	var out []net.PacketConn
	for i := range max(n, 1) {
		lc := net.ListenConfig{}
		if n > 1 {
			lc.Control = func(_, _ string, c syscall.RawConn) error { return reusePort(c) }
		}
		pc, err := lc.ListenPacket(ctx, "udp", addr)
		if err != nil {
			for _, pc := range out {
				pc.Close()
			}
			return nil, fmt.Errorf("relay: socket %d: %w", i, err)
		}
		u := pc.(*net.UDPConn)
		_, _ = u.SetReadBuffer(socketBuffer), u.SetWriteBuffer(socketBuffer)
		out = append(out, pc)
		addr = pc.LocalAddr().String()
	}
	return out, nil
}
