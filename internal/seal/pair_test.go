// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"encoding/binary"
	"testing"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

var suites = []Suite{AES128GCM, ChaCha20Poly1305}

// eachSuite runs one body with every suite.
func eachSuite(t *testing.T, f func(t *testing.T, suite Suite)) {
	for _, s := range suites {
		t.Run("suite="+s.String(), func(t *testing.T) { f(t, s) })
	}
}

// A pair is the two ends of one session.
type pair struct {
	t    testing.TB
	a, b *Session // initiator, responder
}

func testSecret() Secret {
	exporter := make([]byte, 32)
	for i := range exporter {
		exporter[i] = byte(i)
	}
	return DeriveSecret(exporter, []byte("kem"), []byte("transcript"))
}

func newPair(t testing.TB, suite Suite, c *Config) *pair {
	t.Helper()
	a, err := NewSession(testSecret(), Initiator, suite, c)
	if err != nil {
		t.Fatalf("NewSession(initiator): %v", err)
	}
	b, err := NewSession(testSecret(), Responder, suite, c)
	if err != nil {
		t.Fatalf("NewSession(responder): %v", err)
	}
	return &pair{t, a, b}
}

// seal makes the next packet of s, with its number in four bytes.
func (p *pair) seal(s *Session, payload string) []byte {
	p.t.Helper()
	pkt := p.trySeal(s, payload)
	if pkt == nil {
		p.t.Fatalf("Seal returned nil at packet %d: %v", s.NextPN(), s.Err())
	}
	return pkt
}

func (p *pair) trySeal(s *Session, payload string) []byte {
	pn := s.NextPN()
	pkt := make([]byte, wire.MaxHeaderLen, 2048)
	pkt[0] = wire.FirstProtected | 3
	binary.BigEndian.PutUint64(pkt[1:], 0x0102030405060708)
	binary.BigEndian.PutUint32(pkt[9:], uint32(pn))
	return s.Seal(append(pkt, payload...), wire.MaxHeaderLen, pn)
}

// open opens a copy of pkt.
func (p *pair) open(s *Session, pkt []byte) (string, uint64, error) {
	p.t.Helper()
	pkt = append([]byte(nil), pkt...)
	h, err := wire.ParseHeader(pkt)
	if err != nil {
		return "", 0, err
	}
	payload, pn, err := s.Open(pkt, h)
	return string(payload), pn, err
}

// wantOpen fails the test unless pkt opens.
func (p *pair) wantOpen(why string, s *Session, pkt []byte) {
	p.t.Helper()
	if _, _, err := p.open(s, pkt); err != nil {
		p.t.Fatalf("%s: packet does not open: %v", why, err)
	}
}

// wantErr fails the test unless pkt is refused with want, leaving no trace in s but the counts.
func (p *pair) wantErr(why string, s *Session, pkt []byte, want error) {
	p.t.Helper()
	before := *s
	if _, _, err := p.open(s, pkt); err != want {
		p.t.Fatalf("%s: Open = %v, want %v", why, err, want)
	}
	after := *s
	before.stats, after.stats = Stats{}, Stats{}
	before.nonce, after.nonce = [nonceSize]byte{}, [nonceSize]byte{}
	if before != after {
		p.t.Fatalf("%s: a refused packet changed the state of the session", why)
	}
}
