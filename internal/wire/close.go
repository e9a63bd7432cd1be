// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// A Close is the body of a CLOSE chunk.
//
//	+----------+-------------+------------------------+
//	| flags(1) | code varint | reason, UTF-8, ≤ 256 B |
//	+----------+-------------+------------------------+
type Close struct {
	Abrupt bool   // flag 0x01: do not wait for anything; the sender has already forgotten the session
	Code   uint64 // an application's code, or one of the Code constants
	Reason string // for people; at most MaxCloseReason bytes
}

const closeAbrupt = 0x01

// AppendClose appends c as a whole chunk. An overlong reason is cut at a rune boundary.
func AppendClose(b []byte, c Close) []byte {
	r := strings.ToValidUTF8(c.Reason, string(utf8.RuneError))
	if len(r) > MaxCloseReason {
		n := MaxCloseReason
		for !utf8.RuneStart(r[n]) {
			n--
		}
		r = r[:n]
	}
	b = append(b, byte(ChunkClose))
	b = AppendVarint(b, uint64(1+VarintLen(c.Code)+len(r)))
	var flags byte
	if c.Abrupt {
		flags |= closeAbrupt
	}
	b = append(b, flags)
	b = AppendVarint(b, c.Code)
	return append(b, r...)
}

// ParseClose parses the body of a CLOSE chunk. Unknown flags are ignored: nothing may keep a session from closing.
func ParseClose(body []byte) (Close, error) {
	if len(body) < 1 {
		return Close{}, ErrTruncated
	}
	flags := body[0]
	code, n := ReadVarint(body[1:])
	if n == 0 {
		return Close{}, ErrTruncated
	}
	reason := body[1+n:]
	if len(reason) > MaxCloseReason {
		return Close{}, fmt.Errorf("%w: close reason of %d bytes", ErrMalformed, len(reason))
	}
	if !utf8.Valid(reason) {
		return Close{}, fmt.Errorf("%w: close reason is not UTF-8", ErrMalformed)
	}
	return Close{Abrupt: flags&closeAbrupt != 0, Code: code, Reason: string(reason)}, nil
}
