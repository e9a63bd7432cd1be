// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package rvproto

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Errors of parsing. Any but [ErrUnknownType] is a violation of the protocol.
var (
	ErrMalformed   = errors.New("rvproto: malformed frame")
	ErrTooLarge    = errors.New("rvproto: frame too large")
	ErrUnknownType = errors.New("rvproto: unknown frame type")
)

// ParseClient parses a frame that a client sent. With [ErrUnknownType] the frame is to be ignored.
func ParseClient(b []byte) (*Frame, error) { return parse(b, clientFrames) }

// ParseServer parses a frame that a server sent. With [ErrUnknownType] the frame is to be ignored.
func ParseServer(b []byte) (*Frame, error) { return parse(b, serverFrames) }

func parse(b []byte, types map[string]func(*Frame) string) (*Frame, error) {
	if len(b) > MaxFrame {
		return nil, ErrTooLarge
	}
	f := new(Frame)
	if err := json.Unmarshal(b, f); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	check, ok := types[f.Type]
	if !ok {
		return f, ErrUnknownType
	}
	if wrong := check(f); wrong != "" {
		return nil, fmt.Errorf("%w: %s: %s", ErrMalformed, f.Type, wrong)
	}
	return f, nil
}

// clientFrames and serverFrames have a check for each type, which returns what is wrong or nothing.
//
// A payload beyond [MaxPayload] in a send is not malformed: it has an answer of its own.
var (
	clientFrames = map[string]func(*Frame) string{
		TypeHello: func(f *Frame) string {
			return first(want(f.Version > 0, "version"), text(f.Agent, "agent"))
		},
		TypeRegister: func(f *Frame) string {
			return first(
				peer(f.Peer, "peer"),
				want(len(f.Signature) == SignatureSize, "signature"),
				want(len(f.Resume) == 0 || len(f.Resume) == ResumeSize, "resume"),
			)
		},
		TypeSend:     func(f *Frame) string { return first(want(f.Seq > 0, "seq"), peer(f.To, "to")) },
		TypeReceived: func(f *Frame) string { return want(f.Seen > 0, "seen") },
		TypePresence: func(f *Frame) string { return first(want(f.Seq > 0, "seq"), peer(f.To, "to")) },
		TypeVerify:   anything,
		TypePing:     anything,
		TypePong:     anything,
	}

	serverFrames = map[string]func(*Frame) string{
		TypeChallenge: func(f *Frame) string {
			return first(
				want(f.Version > 0, "version"),
				want(f.Server != "" && len(f.Server) <= maxServer && printable(f.Server), "server"),
				want(len(f.Challenge) == ChallengeSize, "challenge"),
				want(f.Time > 0, "time"),
			)
		},
		TypeRegistered: func(f *Frame) string {
			return first(
				want(f.Epoch > 0, "epoch"),
				want(len(f.Resume) == ResumeSize, "resume"),
				want(len(f.Observed) <= maxText && printable(f.Observed), "observed"),
				want(f.Time > 0, "time"),
				services(f.Services),
			)
		},
		TypeAck: func(f *Frame) string { return first(want(f.Seq > 0, "seq"), result(f.Result)) },
		TypeDeliver: func(f *Frame) string {
			return first(
				want(f.Seq > 0, "seq"),
				peer(f.From, "from"),
				want(len(f.Payload) <= MaxPayload, "payload"),
			)
		},
		TypePresence: func(f *Frame) string {
			return first(want(f.Seq > 0, "seq"), peer(f.To, "to"), want(f.Result == "" || result(f.Result) == "", "result"))
		},
		TypeVerified: anything,
		TypeServices: func(f *Frame) string { return first(want(f.Services != nil, "services"), services(f.Services)) },
		TypeReplaced: func(f *Frame) string { return text(f.Reason, "reason") },
		TypeGoingAway: func(f *Frame) string {
			return want(f.Delay >= 0 && f.Delay <= 10*60*1000, "delay")
		},
		TypeError: func(f *Frame) string { return first(text(f.Code, "code"), text(f.Text, "text")) },
		TypePing:  anything,
		TypePong:  anything,
	}
)

func anything(*Frame) string { return "" }

// first returns the first of the findings that is one.
func first(findings ...string) string {
	for _, s := range findings {
		if s != "" {
			return s
		}
	}
	return ""
}

func want(ok bool, field string) string {
	if ok {
		return ""
	}
	return "bad or missing " + field
}

func text(s, field string) string { return want(len(s) <= maxText && printable(s), field) }

func peer(s, field string) string { return want(s != "" && len(s) <= maxPeer && printable(s), field) }

func result(s string) string { return want(s != "" && len(s) <= 32 && printable(s), "result") }

// printable keeps control characters out of logs and terminals.
func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

func services(s *Services) string {
	if s == nil {
		return ""
	}
	if s.TTL < 0 || s.TTL > 30*24*3600*1000 || len(s.STUN) > maxServices || len(s.Relays) > maxServices {
		return "bad services"
	}
	for _, a := range s.STUN {
		if a == "" || len(a) > maxText || !printable(a) {
			return "bad STUN server"
		}
	}
	for _, r := range s.Relays {
		if r.URL == "" || len(r.URL) > maxURL || len(r.Username) > maxURL || len(r.Credential) > maxText ||
			!printable(r.URL) || !printable(r.Username) || !printable(r.Credential) {
			return "bad relay"
		}
	}
	return ""
}
