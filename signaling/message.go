// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package signaling

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// Limits of a [Message]. [Seal] and [Open] both enforce them.
const (
	MaxCandidates = 20
	MaxReason     = 256 // bytes

	// Sizes of ML-KEM-768, FIPS 203 table 3.
	kemKeySize        = 1184
	kemCiphertextSize = 1088

	maxSuites    = 8
	maxSuiteName = 32
)

// ErrBadMessage is matched by errors about the content of a message.
var ErrBadMessage = errors.New("signaling: bad message")

// A Kind is what a message is for. The zero Kind is invalid.
type Kind uint8

const (
	KindOffer      Kind = 1 + iota // proposes a session
	KindAnswer                     // accepts one
	KindCandidates                 // adds addresses to an offer or answer, or to a session
	KindBye                        // refuses an offer, or withdraws an attempt that has not led to a session
	KindMove                       // all addresses of the sender, who has moved, for a session that lives
	KindGone                       // the sender does not have the session that a move was about, or no longer
)

var kindNames = [...]string{
	KindOffer: "offer", KindAnswer: "answer", KindCandidates: "candidates", KindBye: "bye", KindMove: "move",
	KindGone: "gone",
}

// String returns the name of the kind in the protocol.
func (k Kind) String() string {
	if k == 0 || int(k) >= len(kindNames) {
		return fmt.Sprintf("Kind(%d)", uint8(k))
	}
	return kindNames[k]
}

func parseKind(s string) (Kind, bool) {
	for k, name := range kindNames {
		if name != "" && name == s {
			return Kind(k), true
		}
	}
	return 0, false
}

// A Message is what peers tell each other through the signaling plane, sealed by [Seal].
//
// Every kind has ID, Time and Attempt. Offer and answer have Session, Instance, Ufrag, Pwd, Fingerprint, KEM and Suites,
// and may have candidates. Candidates has candidates or End, or both, and may name Session and Instance. Bye may have
// Code, Reason, Session and Instance. Move has Session, PeerSession and Seq, and may have candidates. Gone has Session and
// PeerSession, which are those of the move the other way round. Fields that do not belong to a kind must be zero.
type Message struct {
	Kind    Kind
	ID      [16]byte  // unique to this message; random, filled in by Seal when zero
	Time    time.Time // when it was made, to the millisecond; filled in by Seal when zero
	Attempt [16]byte  // the attempt to connect that this belongs to; random, chosen by who offers

	Session  wire.SessionID // the ID that packets to the sender of this message shall carry
	Instance [16]byte       // the sender's process: another value means that it has restarted and forgotten its sessions

	PeerSession wire.SessionID // move, gone: the ID that packets to the receiver of this message carry
	Seq         uint64         // move: a higher one replaces what was told under a lower; from 1 on, up to 2^62-1

	Ufrag, Pwd  string   // ICE credentials, RFC 8839 §5.4
	Fingerprint [32]byte // SHA-256 of the sender's DTLS certificate
	KEM         []byte   // offer: ML-KEM-768 encapsulation key (1184 bytes); answer: ciphertext (1088 bytes); or nothing
	Suites      []string // packet protection: offer, all in order of preference; answer, the chosen one; at most 8

	Candidates []Candidate // at most 20
	End        bool        // no more candidates will follow

	Code   uint64 // bye: a close code
	Reason string // bye: text for people, at most 256 bytes of UTF-8

	// Raw is the exact body that was signed. Seal and Open fill it in; it is for transcripts, which must not depend on
	// whether an encoding is reproducible.
	Raw []byte
}

// A Candidate is an address at which the sender may be reached.
type Candidate struct {
	Kind string // "host", "srflx" (as a STUN server saw it) or "relay" (allocated at a TURN server)
	Addr netip.AddrPort
}

// Kinds of candidates, RFC 8445 §5.1.1.
const (
	CandidateHost  = "host"
	CandidateSrflx = "srflx"
	CandidateRelay = "relay"
)

// validate reports what is wrong with m.
func (m *Message) validate() error {
	if int(m.Kind) >= len(kindNames) || m.Kind == 0 {
		return bad("kind %d", m.Kind)
	}
	if m.ID == [16]byte{} {
		return bad("no ID")
	}
	if ms := m.Time.UnixMilli(); ms <= 0 || ms > maxMillis {
		return bad("time %d ms", ms)
	}
	if m.Attempt == [16]byte{} {
		return bad("no attempt")
	}
	switch m.Kind {
	case KindOffer, KindAnswer:
		if err := m.validateSetup(); err != nil {
			return err
		}
	default:
		if m.Ufrag != "" || m.Pwd != "" || m.Fingerprint != [32]byte{} || len(m.KEM) != 0 || len(m.Suites) != 0 {
			return bad("%v with the fields of an offer", m.Kind)
		}
	}
	if err := m.validateMove(); err != nil {
		return err
	}
	if m.Kind == KindBye {
		if len(m.Candidates) != 0 || m.End {
			return bad("bye with candidates")
		}
		if len(m.Reason) > MaxReason || !utf8.ValidString(m.Reason) {
			return bad("reason of %d bytes", len(m.Reason))
		}
		return nil
	}
	if m.Code != 0 || m.Reason != "" {
		return bad("%v with a code or reason", m.Kind)
	}
	if m.Kind == KindGone && (len(m.Candidates) != 0 || m.End) {
		return bad("gone with candidates")
	}
	if m.Kind == KindCandidates && len(m.Candidates) == 0 && !m.End {
		return bad("no candidates in candidates")
	}
	if len(m.Candidates) > MaxCandidates {
		return bad("%d candidates", len(m.Candidates))
	}
	for _, c := range m.Candidates {
		if err := c.validate(); err != nil {
			return err
		}
	}
	return nil
}

// validateMove checks what only messages about a living session have.
func (m *Message) validateMove() error {
	switch {
	case m.Kind == KindGone:
		if m.Session == 0 || m.PeerSession == 0 || m.Seq != 0 {
			return bad("gone with sessions %d and %d and number %d", m.Session, m.PeerSession, m.Seq)
		}
	case m.Kind != KindMove:
		if m.PeerSession != 0 || m.Seq != 0 {
			return bad("%v with the fields of a move", m.Kind)
		}
	case m.Session == 0 || m.PeerSession == 0:
		return bad("move of no session")
	case m.Seq == 0 || m.Seq > wire.MaxVarint:
		return bad("move number %d", m.Seq)
	case m.End:
		return bad("move with an end")
	}
	return nil
}

// validateSetup checks what offers and answers have and nothing else does.
func (m *Message) validateSetup() error {
	if m.Session == 0 {
		return bad("no session ID")
	}
	if m.Instance == [16]byte{} {
		return bad("no instance")
	}
	// RFC 8839 §5.4
	if !iceChars(m.Ufrag, 4) {
		return bad("ufrag")
	}
	if !iceChars(m.Pwd, 22) {
		return bad("pwd")
	}
	if m.Fingerprint == [32]byte{} {
		return bad("no fingerprint")
	}
	want, most := kemKeySize, maxSuites
	if m.Kind == KindAnswer {
		want, most = kemCiphertextSize, 1
	}
	if len(m.KEM) != 0 && len(m.KEM) != want {
		return bad("ML-KEM part of %d bytes in %v, not %d", len(m.KEM), m.Kind, want)
	}
	if len(m.Suites) == 0 || len(m.Suites) > most {
		return bad("%d suites in %v", len(m.Suites), m.Kind)
	}
	for _, s := range m.Suites {
		if s == "" || len(s) > maxSuiteName || strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return bad("suite %q", s)
		}
	}
	return nil
}

func (c Candidate) validate() error {
	switch c.Kind {
	case CandidateHost, CandidateSrflx, CandidateRelay:
	default:
		return bad("candidate kind %q", c.Kind)
	}
	a := c.Addr.Addr().Unmap()
	if !a.IsValid() || c.Addr.Port() == 0 || a.IsUnspecified() || a.IsMulticast() || a.Zone() != "" ||
		a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return bad("candidate address %v", c.Addr)
	}
	return nil
}

// iceChars reports whether s consists of least to 256 ice-chars.
func iceChars(s string, least int) bool {
	if len(s) < least || len(s) > 256 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '+' && c != '/' {
			return false
		}
	}
	return true
}

func bad(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrBadMessage}, args...)...)
}
