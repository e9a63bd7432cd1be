// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

// Package stunx reads and writes STUN messages (RFC 8489) as plain bytes, and decides which bytes a pion parser may
// see at all. It imports nothing but the standard library.
//
// Ask a server for this socket's public address:
//
//	tx, req := stunx.NewBinding()
//	conn.WriteTo(req, server)
//	n, _, _ := conn.ReadFrom(buf)
//	if got, mapped, err := stunx.ParseBinding(buf[:n]); err == nil && got == tx {
//		fmt.Println("we are", mapped)
//	}
//
// Guard a parser:
//
//	if !stunx.Sane(b) {
//		dropped.Inc()
//		return // a hostile length never reaches the parser
//	}
//
// # Why a filter
//
// The STUN library of the pion generation in use trusts two things it should not. It indexes into an empty
// XOR-*-ADDRESS value, so that one 32-byte datagram ends the process (GHSA-34rh-wp3j-6cxc), and it reads attributes
// that follow MESSAGE-INTEGRITY although nothing protects those (RFC 8489 §14.5 orders agents to ignore them). Both
// happen in goroutines that belong to the library, where no recover can help. [Sane] therefore stands before every
// pion parser: sockets of endpoints, sockets of the relay, and streams by way of [StreamConn].
//
// # Limitations
//
//   - RFC 3489 messages without the magic cookie are refused.
//   - MESSAGE-INTEGRITY is HMAC-SHA1 only. MESSAGE-INTEGRITY-SHA256 passes the filter when it is the last attribute
//     before FINGERPRINT, but nothing here computes it; a message carrying both is refused.
//   - [Sane] does not verify FINGERPRINT or MESSAGE-INTEGRITY: it judges shape, not origin.
package stunx
