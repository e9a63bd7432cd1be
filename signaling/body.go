// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package signaling

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// maxMillis is the end of the year 9999 in Unix milliseconds: later times have no text form.
const maxMillis = 253402300799999

// A body is a [Message] as it is signed: JSON, docs/PROTOCOL.md "Sealed messages". Binary fields are base64.
type body struct {
	Kind        string          `json:"kind"`
	ID          []byte          `json:"id"`
	Time        int64           `json:"time"` // Unix milliseconds
	Attempt     []byte          `json:"attempt"`
	Session     uint64          `json:"session,omitempty,string"` // text: not every JSON parser knows 64-bit integers
	Instance    []byte          `json:"instance,omitempty"`
	PeerSession uint64          `json:"peer_session,omitempty,string"`
	Seq         uint64          `json:"seq,omitempty,string"`
	Ufrag       string          `json:"ufrag,omitempty"`
	Pwd         string          `json:"pwd,omitempty"`
	Fingerprint []byte          `json:"fingerprint,omitempty"`
	KEM         []byte          `json:"kem,omitempty"`
	Suites      []string        `json:"suites,omitempty"`
	Candidates  []bodyCandidate `json:"candidates,omitempty"`
	End         bool            `json:"end,omitempty"`
	Code        uint64          `json:"code,omitempty"`
	Reason      string          `json:"reason,omitempty"`
}

type bodyCandidate struct {
	Kind string `json:"kind"`
	Addr string `json:"addr"` // 192.0.2.1:5000 or [2001:db8::1]:5000
}

// marshal encodes a message that is valid.
func (m *Message) marshal() ([]byte, error) {
	b := body{
		Kind:    m.Kind.String(),
		ID:      m.ID[:],
		Time:    m.Time.UnixMilli(),
		Attempt: m.Attempt[:],
		Session: uint64(m.Session),
		Seq:     m.Seq,
		Ufrag:   m.Ufrag,
		Pwd:     m.Pwd,
		KEM:     m.KEM,
		Suites:  m.Suites,
		End:     m.End,
		Code:    m.Code,
		Reason:  m.Reason,

		PeerSession: uint64(m.PeerSession),
	}
	if m.Instance != [16]byte{} {
		b.Instance = m.Instance[:]
	}
	if m.Fingerprint != [32]byte{} {
		b.Fingerprint = m.Fingerprint[:]
	}
	for _, c := range m.Candidates {
		addr := netip.AddrPortFrom(c.Addr.Addr().Unmap(), c.Addr.Port())
		b.Candidates = append(b.Candidates, bodyCandidate{c.Kind, addr.String()})
	}
	return json.Marshal(&b)
}

// parseBody decodes and validates a body. It ignores fields and kinds of candidates it does not know.
func parseBody(raw []byte) (*Message, error) {
	var b body
	if err := json.Unmarshal(raw, &b); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadMessage, err)
	}
	kind, ok := parseKind(b.Kind)
	if !ok {
		return nil, bad("unknown kind")
	}
	m := &Message{
		Kind:    kind,
		Time:    time.UnixMilli(b.Time),
		Session: wire.SessionID(b.Session),
		Seq:     b.Seq,
		Ufrag:   b.Ufrag,
		Pwd:     b.Pwd,
		KEM:     b.KEM,
		Suites:  b.Suites,
		End:     b.End,
		Code:    b.Code,
		Reason:  b.Reason,
		Raw:     raw,

		PeerSession: wire.SessionID(b.PeerSession),
	}
	for _, f := range []struct {
		name     string
		dst, src []byte
		optional bool
	}{
		{"id", m.ID[:], b.ID, false},
		{"attempt", m.Attempt[:], b.Attempt, false},
		{"instance", m.Instance[:], b.Instance, true},
		{"fingerprint", m.Fingerprint[:], b.Fingerprint, true},
	} {
		if f.optional && len(f.src) == 0 {
			continue
		}
		if copy(f.dst, f.src) != len(f.dst) || len(f.src) != len(f.dst) {
			return nil, bad("%s of %d bytes, not %d", f.name, len(f.src), len(f.dst))
		}
	}
	if len(b.Candidates) > MaxCandidates {
		return nil, bad("%d candidates", len(b.Candidates))
	}
	for _, c := range b.Candidates {
		switch c.Kind {
		case CandidateHost, CandidateSrflx, CandidateRelay:
		default:
			continue // of a later version
		}
		addr, err := netip.ParseAddrPort(c.Addr)
		if err != nil {
			return nil, bad("candidate address")
		}
		m.Candidates = append(m.Candidates, Candidate{c.Kind, netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())})
	}
	if kind == KindCandidates && len(m.Candidates) == 0 && len(b.Candidates) > 0 && !m.End {
		return nil, bad("no candidate of a known kind")
	}
	if err := m.validate(); err != nil {
		return nil, err
	}
	return m, nil
}
