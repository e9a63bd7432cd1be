// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package portmap

import (
	"encoding/binary"
	"net/netip"
)

// NAT-PMP (RFC 6886), for which PCP's predecessor is the better name: IPv4 only, no nonce.
const (
	pmpExternal = 0 // opcodes
	pmpMapUDP   = 1

	pmpExternalLen = 12
	pmpMapLen      = 16
)

// appendPMPExternal appends the question for the router's address outside (RFC 6886 §3.2). It makes no mapping.
func appendPMPExternal(b []byte) []byte { return append(b, 0, pmpExternal) }

// appendPMP appends the request for a mapping (RFC 6886 §3.3).
func (r *mapRequest) appendPMP(b []byte) []byte {
	b = append(b, 0, pmpMapUDP, 0, 0)
	b = binary.BigEndian.AppendUint16(b, r.port)
	b = binary.BigEndian.AppendUint16(b, r.external.Port())
	return binary.BigEndian.AppendUint32(b, r.lifetime)
}

// parsePMPExternal reads the answer to the question for the address.
func parsePMPExternal(b []byte) (m mapResponse, err error) {
	if m, err = parsePMPHeader(b, pmpExternal); err != nil || m.code != 0 {
		return m, err
	}
	if len(b) < pmpExternalLen {
		return m, errNotOurs
	}
	m.external = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[8:12])), 0)
	return m, nil
}

// parsePMP reads an answer to r.
func (r *mapRequest) parsePMP(b []byte) (m mapResponse, err error) {
	if m, err = parsePMPHeader(b, pmpMapUDP); err != nil || (m.code != 0 && len(b) < pmpMapLen) {
		return m, err
	}
	if len(b) < pmpMapLen || binary.BigEndian.Uint16(b[8:]) != r.port {
		return m, errNotOurs
	}
	if m.code != 0 {
		return m, nil
	}
	m.lifetime = binary.BigEndian.Uint32(b[12:])
	m.external = netip.AddrPortFrom(netip.IPv4Unspecified(), binary.BigEndian.Uint16(b[10:]))
	if r.lifetime > 0 && (m.lifetime == 0 || m.external.Port() == 0) {
		return m, errNotOurs
	}
	return m, nil
}

// parsePMPHeader reads what all answers begin with. One to a request that the server does not know ends here
// (RFC 6886 §3.5).
func parsePMPHeader(b []byte, opcode byte) (m mapResponse, err error) {
	if len(b) < 8 || len(b) > pcpMaxLen || b[0] != 0 || b[1] != 128+opcode {
		return m, errNotOurs
	}
	m.code = int(binary.BigEndian.Uint16(b[2:]))
	m.epoch = binary.BigEndian.Uint32(b[4:])
	return m, nil
}
