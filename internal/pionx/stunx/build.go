// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package stunx

import (
	"crypto/hmac"
	"crypto/md5" //nolint:gosec // RFC 8489 §9.2.2 defines the long-term key as an MD5 digest
	"crypto/sha1"
	"encoding/binary"
	"hash/crc32"
	"net/netip"
)

// A Builder writes one message. Start it with [NewBuilder]; every method appends an attribute and keeps the length
// field right, so that Bytes is a valid message at any moment. A Builder is not safe for concurrent use.
type Builder struct{ b []byte }

// NewBuilder starts a message in buf[:0], which is grown as needed and may be nil.
func NewBuilder(buf []byte, m Method, c Class, tx [12]byte) *Builder {
	b := binary.BigEndian.AppendUint16(buf[:0], typeBits(m, c))
	b = append(b, 0, 0)
	b = binary.BigEndian.AppendUint32(b, Cookie)
	return &Builder{append(b, tx[:]...)}
}

// Bytes returns the message so far. It aliases the builder's buffer.
func (m *Builder) Bytes() []byte { return m.b }

// Add appends an attribute. Values longer than 65,535 bytes are cut.
func (m *Builder) Add(t Attr, v []byte) *Builder {
	v = v[:min(len(v), 0xFFFF)]
	at := m.open(t)
	m.b = append(m.b, v...)
	m.close(at)
	return m
}

// AddXORAddr appends an XOR-*-ADDRESS attribute.
func (m *Builder) AddXORAddr(t Attr, ap netip.AddrPort) *Builder {
	at := m.open(t)
	m.b = appendXORAddr(m.b, ap, m.b[8:HeaderSize])
	m.close(at)
	return m
}

// AddError appends ERROR-CODE with an empty reason phrase: the number says it all and the answer stays small.
func (m *Builder) AddError(code int) *Builder {
	return m.Add(ErrorCode, []byte{0, 0, byte(code / 100 & 7), byte(code % 100)})
}

// AddIntegrity appends MESSAGE-INTEGRITY under key (RFC 8489 §14.5). Only FINGERPRINT may follow.
func (m *Builder) AddIntegrity(key []byte) *Builder {
	at := len(m.b)
	m.setLen(at + 24)
	h := hmac.New(sha1.New, key)
	h.Write(m.b)
	m.b = binary.BigEndian.AppendUint16(m.b, uint16(MessageIntegrity))
	m.b = append(m.b, 0, 20)
	m.b = h.Sum(m.b)
	return m
}

// AddFingerprint appends FINGERPRINT (RFC 8489 §14.7), the last attribute of a message.
func (m *Builder) AddFingerprint() *Builder {
	m.setLen(len(m.b) + 8)
	sum := crc32.ChecksumIEEE(m.b) ^ 0x5354554e
	m.b = binary.BigEndian.AppendUint16(m.b, uint16(Fingerprint))
	m.b = append(m.b, 0, 4)
	m.b = binary.BigEndian.AppendUint32(m.b, sum)
	return m
}

func (m *Builder) open(t Attr) int {
	m.b = binary.BigEndian.AppendUint16(m.b, uint16(t))
	m.b = append(m.b, 0, 0)
	return len(m.b)
}

func (m *Builder) close(at int) {
	n := len(m.b) - at
	binary.BigEndian.PutUint16(m.b[at-2:], uint16(n))
	for range pad4(n) - n {
		m.b = append(m.b, 0)
	}
	m.setLen(len(m.b))
}

func (m *Builder) setLen(total int) {
	binary.BigEndian.PutUint16(m.b[2:], uint16(total-HeaderSize))
}

// LongTermKey is the key of the long-term credential mechanism (RFC 8489 §9.2.2).
func LongTermKey(username, realm, password string) []byte {
	h := md5.New() //nolint:gosec // see the import
	h.Write([]byte(username + ":" + realm + ":" + password))
	return h.Sum(nil)
}

// CheckIntegrity reports whether b, which must be [Sane], carries a MESSAGE-INTEGRITY made with key.
func CheckIntegrity(b, key []byte) bool {
	for off := HeaderSize; off+4 <= len(b); {
		n := int(binary.BigEndian.Uint16(b[off+2:]))
		if Attr(binary.BigEndian.Uint16(b[off:])) != MessageIntegrity {
			off += 4 + pad4(n)
			continue
		}
		if n != 20 || off+24 > len(b) {
			return false
		}
		// The length field counts up to and including MESSAGE-INTEGRITY, whatever follows.
		var head [4]byte
		copy(head[:], b[:2])
		binary.BigEndian.PutUint16(head[2:], uint16(off+24-HeaderSize))
		h := hmac.New(sha1.New, key)
		h.Write(head[:])
		h.Write(b[4:off])
		return hmac.Equal(h.Sum(nil), b[off+4:off+24])
	}
	return false
}

// CheckFingerprint reports whether b, which must be [Sane], ends with a correct FINGERPRINT.
func CheckFingerprint(b []byte) bool {
	n := len(b) - 8
	return n >= HeaderSize && binary.BigEndian.Uint32(b[n:]) == uint32(Fingerprint)<<16|4 &&
		binary.BigEndian.Uint32(b[n+4:]) == crc32.ChecksumIEEE(b[:n])^0x5354554e
}
