// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"crypto/mlkem"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/pionx/dtlsx"
	"github.com/seed-98f0d4c2/runnel/internal/pionx/icex"
	"github.com/seed-98f0d4c2/runnel/internal/seal"
	"github.com/seed-98f0d4c2/runnel/internal/wire"
	"github.com/seed-98f0d4c2/runnel/mobility"
	"github.com/seed-98f0d4c2/runnel/signaling"
)

// An attemptID names one try at establishing a session; it is in every signaling message of the try.
type attemptID [16]byte

const (
	maxTargets   = 32 // paths that handshake packets may be tried on
	maxFlight    = 8  // datagrams of one DTLS flight
	maxEarly     = 16 // protected packets that arrive before our keys are ready
	handshakePad = 300
	maxSends     = 12 // datagrams sent on the path found, with nothing heard, before the others are tried again
)

// A setup is one try at establishing a session: the state that exists from the offer until both sides have proven
// their identity, and is dropped then. The session's loop owns it.
type setup struct {
	id        attemptID
	role      seal.Role
	direct    bool        // there is no rendezvous between the peers
	dial      *directDial // and we dial
	localSID  wire.SessionID
	remoteSID wire.SessionID
	haveSID   bool // remoteSID is known: offer and answer have been exchanged

	offer, answer []byte // exact bytes, for the transcript
	payload       []byte // our sealed offer or answer, to send again
	kem           *mlkem.DecapsulationKey768
	kemSecret     []byte
	suite         seal.Suite
	identity      *dtlsx.Identity
	hs            *dtlsx.Handshake
	agent         *icex.Agent

	told     []signaling.Candidate // what the peer knows of us
	targets  []target              // ways that handshake packets are tried on
	tries    int                   // how often they were
	path     mobility.Candidate    // the way the peer's handshake packets come by
	havePath bool
	checked  bool     // an authenticated connectivity check has arrived
	flight   [][]byte // what we have sent since the peer was last heard
	sends    int      // how often it went out on path
	in, out  int      // bytes of handshake packets on path; the listener sends three times what it got there at most
	early    []train
	resendAt time.Time
}

// A target is a way that may lead to the peer.
type target struct {
	mobility.Candidate
	open bool // an authenticated connectivity check has come by it
}

// newSetup makes what both roles need. The agent is nil when this endpoint hides its addresses.
func (s *Session) newSetup(role seal.Role, direct bool) (*setup, error) {
	at := &setup{role: role, direct: direct}
	if role == seal.Initiator {
		_, _ = rand.Read(at.id[:])
	}
	var err error
	if at.identity, err = dtlsx.NewIdentity(); err != nil {
		return nil, err
	}
	s.learnLAN()
	if !direct && (s.addresses == Direct || s.addresses == LANOnly) {
		if at.agent, err = s.newAgent(role); err != nil {
			return nil, err
		}
	}
	at.localSID = s.e.claimSID(s)
	return at, nil
}

func (s *Session) newAgent(role seal.Role) (*icex.Agent, error) {
	return icex.NewAgent(&icex.Config{
		Mux:         s.e.mux,
		Admit:       s.admitChecks(),
		Controlling: role == seal.Initiator,
		Log:         s.log,
		OnCheck:     func(from netip.AddrPort) { s.tell(func(now time.Time) { s.handleDirectPath(now, from) }) },
		OnSelected:  func(to netip.AddrPort) { s.tell(func(now time.Time) { s.handleDirectPath(now, to) }) },
	})
}

// message starts a signaling message of a try.
func (s *Session) message(at *setup, kind signaling.Kind, now time.Time) *signaling.Message {
	m := &signaling.Message{Kind: kind, Attempt: at.id, Time: s.e.stamp(now)}
	_, _ = rand.Read(m.ID[:])
	return m
}

// describe fills in what offer and answer have in common.
func (s *Session) describe(m *signaling.Message, at *setup) {
	m.Session = at.localSID
	m.Instance = s.e.instance
	m.Fingerprint = at.identity.Fingerprint()
	if at.agent != nil {
		m.Ufrag, m.Pwd = at.agent.Credentials()
	} else { // no check will ever use them, but every offer and answer looks the same
		m.Ufrag, m.Pwd = rand.Text()[:8], rand.Text()
	}
	if !at.direct {
		m.Candidates = s.e.localCandidates(s.tells)
		at.told = slices.Clone(m.Candidates)
	}
}

// makeOffer seals the offer of at.
func (s *Session) makeOffer(now time.Time, at *setup) error {
	m := s.message(at, signaling.KindOffer, now)
	s.describe(m, at)
	m.Suites = suites()
	if !at.direct { // with no rendezvous the offer must fit a datagram
		var err error
		if at.kem, err = mlkem.GenerateKey768(); err != nil {
			return err
		}
		m.KEM = at.kem.EncapsulationKey().Bytes()
	}
	payload, err := signaling.Seal(s.e.cfg.Key, s.id, m)
	if err != nil {
		return err
	}
	at.offer, at.payload = m.Raw, payload
	return nil
}

// makeAnswer takes in the peer's offer and seals the answer to it.
func (s *Session) makeAnswer(now time.Time, at *setup, offer *signaling.Message) error {
	at.id, at.offer = offer.Attempt, offer.Raw
	at.remoteSID, at.haveSID = offer.Session, true
	suite, err := chooseSuite(offer.Suites)
	if err != nil {
		return err
	}
	at.suite = suite
	m := s.message(at, signaling.KindAnswer, now)
	s.describe(m, at)
	m.Suites = []string{suite.String()}
	if !at.direct {
		key, err := mlkem.NewEncapsulationKey768(offer.KEM)
		if err != nil {
			return fmt.Errorf("offer: %w", err)
		}
		at.kemSecret, m.KEM = key.Encapsulate()
	}
	payload, err := signaling.Seal(s.e.cfg.Key, s.id, m)
	if err != nil {
		return err
	}
	at.answer, at.payload = m.Raw, payload
	return nil
}

// takeAnswer takes in the peer's answer to our offer.
func (at *setup) takeAnswer(m *signaling.Message) error {
	if len(m.Suites) != 1 {
		return errors.New("answer names no suite")
	}
	suite, ok := seal.ParseSuite(m.Suites[0])
	if !ok {
		return fmt.Errorf("answer names the unknown suite %q", m.Suites[0])
	}
	if at.kem != nil {
		var err error
		if at.kemSecret, err = at.kem.Decapsulate(m.KEM); err != nil {
			return fmt.Errorf("answer: %w", err)
		}
	}
	at.suite, at.answer = suite, m.Raw
	at.remoteSID, at.haveSID = m.Session, true
	return nil
}

// chooseSuite picks the AEAD for a session: AES-GCM when both sides prefer it, which means that both have it in
// hardware, and ChaCha20-Poly1305 otherwise.
func chooseSuite(offered []string) (seal.Suite, error) {
	mine := suites()[0]
	if len(offered) == 0 || offered[0] != mine {
		mine = seal.ChaCha20Poly1305.String()
	}
	suite, _ := seal.ParseSuite(mine)
	if !slices.Contains(offered, mine) {
		return suite, errors.New("no common suite")
	}
	return suite, nil
}

// transcript is what both sides have said, as it goes into the session secret.
func (at *setup) transcript() []byte {
	var b []byte
	for _, part := range [][]byte{at.offer, at.answer} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(part)))
		b = append(b, part...)
	}
	return b
}

// close releases what the try holds. The session ID stays routed as long as the session needs it.
func (at *setup) close() {
	if at.agent != nil {
		_ = at.agent.Close()
		at.agent = nil
	}
	if at.hs != nil {
		at.hs.Close()
	}
	at.dropEarly()
}

func (at *setup) dropEarly() {
	for _, t := range at.early {
		t.buf.Release()
	}
	at.early = nil
}
