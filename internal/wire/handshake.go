// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/binary"
	"fmt"
)

// HandshakeOverhead is how many bytes a handshake packet adds to the DTLS datagram it carries.
const HandshakeOverhead = 1 + SessionIDLen + 2

// ParseHandshake parses a handshake packet. dtls aliases b.
//
//	+------+---------------+-----------+---------------+---------------+
//	| 0xe0 | session ID(8) | length(2) | DTLS datagram | zero padding  |
//	+------+---------------+-----------+---------------+---------------+
func ParseHandshake(b []byte) (sid SessionID, dtls []byte, err error) {
	if len(b) < HandshakeOverhead {
		return 0, nil, ErrTruncated
	}
	if b[0] != FirstHandshake {
		return 0, nil, ErrMalformed
	}
	sid = SessionID(binary.BigEndian.Uint64(b[1:]))
	n := int(binary.BigEndian.Uint16(b[1+SessionIDLen:]))
	b = b[HandshakeOverhead:]
	if n > len(b) {
		return 0, nil, ErrTruncated
	}
	for _, c := range b[n:] {
		if c != 0 {
			return 0, nil, fmt.Errorf("%w: handshake padding is not zero", ErrMalformed)
		}
	}
	return sid, b[:n:n], nil
}

// AppendHandshake appends a handshake packet carrying one DTLS datagram, padded with zeros to padTo bytes if it is
// shorter. It panics if dtls exceeds 65535 bytes, which no UDP datagram can.
func AppendHandshake(b []byte, sid SessionID, dtls []byte, padTo int) []byte {
	if len(dtls) > 0xffff {
		panic("wire: DTLS datagram too large")
	}
	b = append(b, FirstHandshake)
	b = binary.BigEndian.AppendUint64(b, uint64(sid))
	b = binary.BigEndian.AppendUint16(b, uint16(len(dtls)))
	b = append(b, dtls...)
	for n := HandshakeOverhead + len(dtls); n < padTo; n++ {
		b = append(b, 0)
	}
	return b
}
