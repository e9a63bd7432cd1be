// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

// Package turnx speaks TURN (RFC 8656) on pion/turn: a client for the one relayed address that all sessions of an
// endpoint share, and the protocol core of the relay server. No pion type appears in its interface.
//
//	a, err := turnx.Allocate(ctx, &turnx.ClientConfig{
//		Conn: conn, Server: server, Username: user, Password: credential,
//		OnPacket: func(b []byte, from netip.AddrPort) { handle(b, from) },
//	})
//	if err != nil {
//		return err
//	}
//	defer a.Close()
//	announce(a.Relayed())               // peers send to this address
//	a.Permit(peer.Addr())               // and this one may: returns at once
//	err = a.WriteTo([]byte("hi"), peer) // never blocks, goes out right behind the permission request
//	<-a.Done()                          // the allocation is gone; a.Err() says why
//
// # What pion does and what it does not
//
// The client uses pion for the Allocate exchange, for retransmission and matching of transactions, and for the regular
// refresh. Data, permissions and channels go around it: its data path blocks the caller for a round trip per new peer
// address, refreshes for ever every permission it ever had in one request that fails as a whole, copies each packet
// three times, and reports a lost allocation to nobody. Here one goroutine reads, one writes from a bounded queue and
// one keeps everything fresh; answers are checked for MESSAGE-INTEGRITY, which pion omits.
//
// The server adds to pion's what must stand before any of its parsers (see package stunx); policy, quotas and limits
// belong to package relay.
//
// # Limitations
//
//   - Relayed addresses are IPv4 (pion asks for and serves "udp4" only); the server may be reached over IPv6.
//   - No TCP relaying (RFC 6062), mobility (RFC 8016), EVEN-PORT or DONT-FRAGMENT.
//   - Over UDP, one Close in many may leave the allocation to expire on the server: deallocation is tried for a second.
package turnx
