// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package dtlsx

import "encoding/binary"

// Record types (RFC 5246 §6.2.1).
const (
	typeChangeCipherSpec = 20
	typeAlert            = 21
	typeHandshake        = 22
)

// Handshake types (RFC 5246 §7.4).
const (
	clientHello        = 1
	serverHello        = 2
	certificate        = 11
	serverKeyExchange  = 12
	certificateRequest = 13
	serverHelloDone    = 14
	certificateVerify  = 15
	clientKeyExchange  = 16
)

const (
	recordHeader  = 13 // RFC 6347 §4.1
	messageHeader = 12 // RFC 6347 §4.2.2

	maxDatagram = 2048
	maxMessage  = 8 << 10 // a certificate is some 300 bytes
)

// A record is one DTLS record with its header. It aliases the datagram.
type record []byte

func (r record) contentType() byte { return r[0] }
func (r record) epoch() uint16     { return binary.BigEndian.Uint16(r[3:]) }
func (r record) body() []byte      { return r[recordHeader:] }

// nextRecord splits the first record off a datagram. ok is false if there is none that is complete and of a version
// that DTLS 1.2 uses in its headers; then the rest of the datagram is worth nothing either.
func nextRecord(b []byte) (r record, rest []byte, ok bool) {
	if len(b) < recordHeader || b[1] != 0xFE || b[2] != 0xFD && b[2] != 0xFF {
		return nil, nil, false
	}
	end := recordHeader + int(binary.BigEndian.Uint16(b[11:]))
	if end == recordHeader || end > len(b) {
		return nil, nil, false
	}
	return b[:end:end], b[end:], true
}

// isHandshakeFrom reports whether the body of a plaintext handshake record consists of whole messages or fragments
// that a client, or a server, may send. HelloVerifyRequest and HelloRequest may not: no Runnel peer sends them.
func isHandshakeFrom(client bool, body []byte) bool {
	for len(body) > 0 {
		if len(body) < messageHeader {
			return false
		}
		length, offset, n := uint24(body[1:]), uint24(body[6:]), uint24(body[9:])
		if length > maxMessage || offset > length || n > length-offset || n > len(body)-messageHeader ||
			n == 0 && length != 0 {
			return false
		}
		switch body[0] {
		case clientHello, clientKeyExchange, certificateVerify:
			if !client {
				return false
			}
		case serverHello, serverKeyExchange, certificateRequest, serverHelloDone:
			if client {
				return false
			}
		case certificate:
		default: // Finished, too: it is never in plaintext
			return false
		}
		body = body[messageHeader+n:]
	}
	return true
}

func uint24(b []byte) int { return int(b[0])<<16 | int(b[1])<<8 | int(b[2]) }
