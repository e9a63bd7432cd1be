// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package stunx

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
)

// Errors of [ParseBinding].
var (
	// ErrMalformed: the bytes are not one sane STUN message.
	ErrMalformed = errors.New("stunx: malformed message")
	// ErrNotBinding: the message is not a response to a Binding request.
	ErrNotBinding = errors.New("stunx: not a binding response")
	// ErrNoAddress: a success response without a usable mapped address.
	ErrNoAddress = errors.New("stunx: binding response without an address")
)

// A CodeError is an error response of a server. 420 means the server asks for something we did not understand, 5xx
// that it is worth asking again later (RFC 8489 §14.8).
type CodeError int

func (e CodeError) Error() string { return fmt.Sprintf("stunx: server answered %d", int(e)) }

// NewTransaction returns a fresh transaction ID from crypto/rand: guessing it is what an off-path forger must do.
func NewTransaction() (tx [12]byte) {
	rand.Read(tx[:])
	return tx
}

// NewBinding makes a Binding request (RFC 8489 §2), a bare header of 20 bytes, and returns its transaction ID, by
// which the answer is recognised.
func NewBinding() (tx [12]byte, msg []byte) {
	tx = NewTransaction()
	return tx, NewBuilder(make([]byte, 0, HeaderSize), Binding, Request, tx).Bytes()
}

// ParseBinding reads the response to a Binding request. The transaction ID is returned also with a [CodeError],
// [ErrNotBinding] and [ErrNoAddress], so that the caller can tell whose answer it is; it must match the request's,
// for nothing else protects the answer. mapped is never an IPv4-mapped IPv6 address.
func ParseBinding(b []byte) (tx [12]byte, mapped netip.AddrPort, err error) {
	if !Sane(b) {
		return tx, mapped, ErrMalformed
	}
	tx = TransactionID(b)
	switch m, c := Type(b); {
	case m != Binding || c < Success:
		return tx, mapped, ErrNotBinding
	case c == Failure:
		return tx, mapped, CodeError(ErrorOf(b))
	}
	if v, ok := Get(b, XORMappedAddress); ok {
		mapped, _ = XORAddr(v, tx)
	} else if v, ok := Get(b, MappedAddress); ok { // RFC 3489 servers
		a, _ := netip.AddrFromSlice(v[4:])
		mapped = netip.AddrPortFrom(a, uint16(v[2])<<8|uint16(v[3]))
	}
	mapped = netip.AddrPortFrom(mapped.Addr().Unmap(), mapped.Port())
	if !mapped.IsValid() || mapped.Port() == 0 || mapped.Addr().IsUnspecified() {
		return tx, netip.AddrPort{}, ErrNoAddress
	}
	return tx, mapped, nil
}
