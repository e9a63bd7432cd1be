// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package turnx

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/pionx/stunx"
)

// tap is the connection as the library sees it. Everything the library sends passes through it, and the reader shows
// it every response before the library: it learns from them what the library keeps to itself (the nonce, the mapped
// address, error codes, the lifetime that refreshes were granted) and refuses answers nobody signed.
type tap struct {
	a *Allocation

	mu       sync.Mutex
	closed   bool
	open     map[[12]byte]time.Time // requests without answer
	sent     map[[12]byte]func()    // who waits for a request to leave
	realm    []byte
	nonce    []byte
	key      []byte // from realm
	mapped   netip.AddrPort
	lastCode int // of Allocate, 401 to the first request aside
}

func newTap(a *Allocation) *tap {
	return &tap{a: a, sent: make(map[[12]byte]func()), open: make(map[[12]byte]time.Time)}
}

// WriteTo is called by the library, sometimes with its transaction lock held.
func (t *tap) WriteTo(b []byte, _ net.Addr) (int, error) {
	tx := stunx.TransactionID(b)
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return 0, net.ErrClosed
	}
	if stunx.IsRequest(b) {
		now := time.Now()
		if t.open[tx] = now; len(t.open) > 256 {
			for k, at := range t.open {
				if now.Sub(at) > 40*time.Second {
					delete(t.open, k)
				}
			}
		}
	}
	sent := t.sent[tx]
	delete(t.sent, tx)
	t.mu.Unlock()
	n, err := t.a.conn.WriteTo(b, t.a.to)
	if sent != nil {
		sent()
	}
	if err != nil && !t.a.stream {
		// A datagram that could not leave is a lost datagram: the transaction will send it again.
		return len(b), nil
	}
	return n, err
}

func (t *tap) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
}

func (t *tap) notify(tx [12]byte, f func()) {
	if f == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closed {
		t.sent[tx] = f
	}
}

func (t *tap) auth() (realm, nonce, key []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.realm, t.nonce, t.key
}

func (t *tap) mappedAddr() netip.AddrPort {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.mapped
}

func (t *tap) allocateCode() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lastCode
}

// response looks at a sane response; false means that the library must not see it.
func (t *tap) response(b []byte) bool {
	m, class := stunx.Type(b)
	tx := stunx.TransactionID(b)
	t.mu.Lock()
	_, known := t.open[tx]
	delete(t.open, tx)
	t.mu.Unlock()
	if class == stunx.Failure && !known { // nobody has asked: an error need not be signed, so anybody may have made it
		t.a.stats.foreign.Add(1)
		return false
	}
	if class == stunx.Failure {
		code := stunx.ErrorOf(b)
		t.mu.Lock()
		first := t.key == nil // the answer to the request without credentials
		if code == 401 || code == 438 {
			t.challenge(b)
		}
		if m == stunx.Allocate && !(first && code == 401) {
			t.lastCode = code
		}
		t.mu.Unlock()
		if m == stunx.Refresh && code != 401 && code != 438 {
			t.a.wg.Go(func() { t.a.end(&CodeError{"refresh", code}) })
		}
		return true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if m != stunx.Binding && (t.key == nil || !stunx.CheckIntegrity(b, t.key)) { // RFC 8489 §9.2.5
		t.a.stats.unsigned.Add(1)
		return false
	}
	if m == stunx.Allocate {
		if v, ok := stunx.Get(b, stunx.XORMappedAddress); ok {
			ap, _ := stunx.XORAddr(v, stunx.TransactionID(b))
			t.mapped = netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
		}
	}
	if m == stunx.Allocate || m == stunx.Refresh {
		if v, ok := stunx.Get(b, stunx.Lifetime); ok && len(v) == 4 {
			t.a.granted(time.Duration(binary.BigEndian.Uint32(v)) * time.Second)
		}
	}
	return true
}

// challenge takes over realm and nonce; t.mu is held. The realm is fixed by the first challenge, because the library
// signs with that one for ever.
func (t *tap) challenge(b []byte) {
	if nonce, ok := stunx.Get(b, stunx.Nonce); ok {
		t.nonce = bytes.Clone(nonce)
	}
	if realm, ok := stunx.Get(b, stunx.Realm); ok && t.realm == nil {
		t.realm = bytes.Clone(realm)
		t.key = stunx.LongTermKey(t.a.user, string(realm), t.a.password)
	}
}

// The library uses nothing but WriteTo of the connection it is given: reading is ours.
func (t *tap) ReadFrom([]byte) (int, net.Addr, error) { return 0, nil, net.ErrClosed }
func (t *tap) Close() error                           { return nil }
func (t *tap) LocalAddr() net.Addr                    { return t.a.conn.LocalAddr() }
func (t *tap) SetDeadline(time.Time) error            { return nil }
func (t *tap) SetReadDeadline(time.Time) error        { return nil }
func (t *tap) SetWriteDeadline(time.Time) error       { return nil }
