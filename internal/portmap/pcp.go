// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package portmap

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
)

// The Port Control Protocol (RFC 6887): a common header, and the MAP opcode behind it.
const (
	pcpVersion   = 2
	pcpMap       = 1
	pcpResponse  = 0x80
	pcpHeaderLen = 24
	pcpMapLen    = pcpHeaderLen + 36
	pcpMaxLen    = 1100 // RFC 6887 §7

	protocolUDP = 17
)

var errNotOurs = errors.New("portmap: no answer to what was asked")

// A mapRequest asks for a mapping, or with a zero lifetime for its end.
type mapRequest struct {
	client   netip.Addr // as this host sees itself: a router in between would spoil it, which the server notices
	port     uint16
	nonce    [12]byte
	external netip.AddrPort // wished for; invalid if anything will do
	lifetime uint32         // in seconds
}

// A mapResponse is a server's answer, of PCP or NAT-PMP. If code is not zero, only epoch is of use.
type mapResponse struct {
	code     int
	epoch    uint32
	lifetime uint32
	external netip.AddrPort // NAT-PMP: the port alone counts
}

// appendPCP appends the request as RFC 6887 §7.1 and §11.1 have it.
func (r *mapRequest) appendPCP(b []byte) []byte {
	client := r.client.As16() // IPv4 as an IPv4-mapped address, RFC 6887 §5
	b = append(b, pcpVersion, pcpMap, 0, 0)
	b = binary.BigEndian.AppendUint32(b, r.lifetime)
	b = append(b, client[:]...)
	b = append(b, r.nonce[:]...)
	b = append(b, protocolUDP, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, r.port)
	b = binary.BigEndian.AppendUint16(b, r.external.Port())
	var external [16]byte
	switch {
	case r.external.IsValid():
		external = r.external.Addr().As16()
	case r.client.Is4(): // the unspecified address of the family that is wanted
		external = netip.IPv4Unspecified().As16()
	}
	return append(b, external[:]...)
}

// parsePCP reads an answer to r. An answer that is an error in itself is a [RefusedError].
func (r *mapRequest) parsePCP(b []byte) (mapResponse, error) {
	var m mapResponse
	if len(b) < 4 || b[1]&pcpResponse == 0 {
		return m, errNotOurs
	}
	if b[0] != pcpVersion {
		// A NAT-PMP server answers in its own words that it does not know the version (RFC 6887 appendix A): version
		// zero and result 1.
		if b[0] == 0 && b[1] == pcpResponse|pcpMap && binary.BigEndian.Uint16(b[2:]) == 1 && len(b) < pcpHeaderLen {
			m.code = pcpUnsupportedVersion
			return m, nil
		}
		return m, errNotOurs
	}
	if len(b) < pcpHeaderLen || len(b) > pcpMaxLen || len(b)%4 != 0 || b[1] != pcpResponse|pcpMap {
		return m, errNotOurs
	}
	m.code = int(b[3])
	m.lifetime = binary.BigEndian.Uint32(b[4:])
	m.epoch = binary.BigEndian.Uint32(b[8:])
	if len(b) < pcpMapLen {
		// The only answer that may be so short is that of a server of another version.
		if m.code == pcpUnsupportedVersion {
			return m, nil
		}
		return m, errNotOurs
	}
	if [12]byte(b[24:36]) != r.nonce || b[36] != protocolUDP || binary.BigEndian.Uint16(b[40:]) != r.port {
		return m, errNotOurs // RFC 6887 §11.4
	}
	if m.code != 0 {
		return m, nil
	}
	ip := netip.AddrFrom16([16]byte(b[44:60])).Unmap()
	m.external = netip.AddrPortFrom(ip, binary.BigEndian.Uint16(b[42:]))
	if ip.Is4() != r.client.Is4() || (r.lifetime > 0 && (m.lifetime == 0 || m.external.Port() == 0)) {
		return m, fmt.Errorf("%w: PCP granted %v for %d s", errNotOurs, m.external, m.lifetime)
	}
	return m, nil
}

const pcpUnsupportedVersion = 1 // RFC 6887 §7.4
