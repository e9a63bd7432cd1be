// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mdns

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"time"
)

// An ID names the peer that is wanted. It is never sent.
type ID = [32]byte

// A Nonce makes each query another one.
type Nonce [16]byte

// A Tag shows that its maker knows an ID, to those who know it too.
type Tag [16]byte

// tagPeriod is how long a query can be told to be one: who hears it cannot use it on another day, or in another place an
// hour later, to see whether the same peer is there. Clocks may differ by as much.
const tagPeriod = 5 * time.Minute

func mac(id ID, label string, parts ...[]byte) (t Tag) {
	h := hmac.New(sha256.New, id[:])
	h.Write([]byte(label))
	for _, p := range parts {
		h.Write(p)
	}
	copy(t[:], h.Sum(nil))
	return t
}

// queryTag is the tag of a query made in the given period.
func queryTag(id ID, n Nonce, period int64) Tag {
	return mac(id, "runnel lan query v1\x00", n[:], binary.BigEndian.AppendUint64(nil, uint64(period)))
}

func period(now time.Time) int64 { return now.Unix() / int64(tagPeriod/time.Second) }

// wants reports whether a query is for id, and was made lately.
func wants(id ID, n Nonce, tag Tag, now time.Time) bool {
	found := false
	for p := period(now) - 1; p <= period(now)+1; p++ {
		want := queryTag(id, n, p)
		found = hmac.Equal(want[:], tag[:]) || found // all three, whatever the first says
	}
	return found
}

// answerTag is the tag of an answer: nobody who does not know id can change where it points.
func answerTag(id ID, n Nonce, port uint16, addrs []netip.Addr) Tag {
	b := binary.BigEndian.AppendUint16(nil, port)
	for _, a := range addrs {
		b = append(b, byte(a.BitLen()/8))
		b = append(b, a.AsSlice()...)
	}
	return mac(id, "runnel lan answer v1\x00", n[:], b)
}
