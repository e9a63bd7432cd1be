// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package wire

// Variable-length integers are those of QUIC: the two top bits of the first byte give the length, 1, 2, 4 or 8 bytes,
// and the rest is the value in network byte order. RFC 9000 §16. Encodings longer than needed are accepted.

// AppendVarint appends v. It panics if v exceeds [MaxVarint]: a value from outside must be checked before it gets here.
func AppendVarint(b []byte, v uint64) []byte {
	switch {
	case v < 1<<6:
		return append(b, byte(v))
	case v < 1<<14:
		return append(b, 0x40|byte(v>>8), byte(v))
	case v < 1<<30:
		return append(b, 0x80|byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
	case v <= MaxVarint:
		return append(b, 0xc0|byte(v>>56), byte(v>>48), byte(v>>40), byte(v>>32),
			byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
	}
	panic("wire: integer too large for a varint")
}

// ReadVarint reads an integer from the start of b. n is its length in bytes, or 0 if b is too short.
func ReadVarint(b []byte) (v uint64, n int) {
	if len(b) == 0 {
		return 0, 0
	}
	n = 1 << (b[0] >> 6)
	if len(b) < n {
		return 0, 0
	}
	v = uint64(b[0] & 0x3f)
	for _, c := range b[1:n] {
		v = v<<8 | uint64(c)
	}
	return v, n
}

// VarintLen returns the encoded length of v in bytes. It panics if v exceeds [MaxVarint].
func VarintLen(v uint64) int {
	switch {
	case v < 1<<6:
		return 1
	case v < 1<<14:
		return 2
	case v < 1<<30:
		return 4
	case v <= MaxVarint:
		return 8
	}
	panic("wire: integer too large for a varint")
}
