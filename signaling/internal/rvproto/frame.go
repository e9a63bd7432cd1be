// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package rvproto

import (
	"encoding/json"
)

// Version of the protocol. It is the last element of the WebSocket path too, so that an incompatible successor can be
// served beside it.
const (
	Version = 1
	Path    = "/v1"
)

// Sizes in bytes.
const (
	// MaxFrame is the largest WebSocket message of either side.
	MaxFrame = 16 << 10

	// MaxPayload is the largest payload of an envelope: what fits a frame in base64 beside everything else.
	MaxPayload = 12000

	ChallengeSize = 32
	SignatureSize = 64
	ResumeSize    = 32

	maxServer   = 255 // a host name
	maxPeer     = 64  // the text form of a peer ID has 56
	maxText     = 256
	maxURL      = 512
	maxServices = 16 // STUN servers, and relays
)

// Window is how many sends a client may have waiting for their ack. A server remembers the results of at least twice as
// many, so that a client that lost the acks with its connection can ask again without sending twice.
const Window = 32

// Close codes of the WebSocket connection (RFC 6455 §7.4.2, private use).
const (
	CloseReplaced    = 4001 // another registration of the same peer
	CloseAuth        = 4003 // registration refused
	CloseProtocol    = 4004 // malformed or unexpected frame
	CloseSlow        = 4008 // the client does not keep up with what is sent to it
	CloseSuperseded  = 4009 // the same session was resumed on another connection
	CloseUnsupported = 4010 // no common version
)

// Types of frames. Receivers ignore types they do not know.
const (
	// client to server
	TypeHello    = "hello"
	TypeRegister = "register"
	TypeSend     = "send"
	TypeReceived = "received"
	TypeVerify   = "verify"

	// server to client
	TypeChallenge  = "challenge"
	TypeRegistered = "registered"
	TypeAck        = "ack"
	TypeDeliver    = "deliver"
	TypeVerified   = "verified"
	TypeServices   = "services"
	TypeReplaced   = "replaced"
	TypeGoingAway  = "going_away"
	TypeError      = "error"

	// both ways
	TypePresence = "presence"
	TypePing     = "ping"
	TypePong     = "pong"
)

// Results of a send. A receiver takes one it does not know for a failure.
const (
	ResultOK          = "ok"
	ResultNotFound    = "not_found" // unknown, offline and unwilling alike
	ResultRateLimited = "rate_limited"
	ResultTooLarge    = "too_large"
	ResultBusy        = "busy" // the target's queue is full
	ResultInvalid     = "invalid"
)

// Codes of an error frame. The server closes the connection after it.
const (
	CodeVersion      = "version"
	CodeUnauthorized = "unauthorized"
	CodeProtocol     = "protocol"
	CodeSlow         = "slow"
)

// A Frame is any message of the protocol. Which fields a type uses is in docs/PROTOCOL.md and checked by [ParseClient]
// and [ParseServer]; the others are ignored.
type Frame struct {
	Type string `json:"type"`

	Version   int    `json:"version,omitempty"`   // hello, challenge
	Agent     string `json:"agent,omitempty"`     // hello
	Server    string `json:"server,omitempty"`    // challenge
	Challenge []byte `json:"challenge,omitempty"` // challenge
	Time      int64  `json:"time,omitempty"`      // challenge, registered: Unix milliseconds

	Peer      string `json:"peer,omitempty"`      // register
	Signature []byte `json:"signature,omitempty"` // register
	Resume    []byte `json:"resume,omitempty"`    // register, registered
	Seen      uint64 `json:"seen,omitempty"`      // register, received: last deliver that arrived

	Epoch    uint64    `json:"epoch,omitempty"`    // registered, verified
	Resumed  bool      `json:"resumed,omitempty"`  // registered
	Observed string    `json:"observed,omitempty"` // registered
	Services *Services `json:"services,omitempty"` // registered, services

	Seq     uint64 `json:"seq,omitempty"`     // send, ack, deliver, presence
	To      string `json:"to,omitempty"`      // send, presence
	From    string `json:"from,omitempty"`    // deliver
	Payload []byte `json:"payload,omitempty"` // send, deliver
	Result  string `json:"result,omitempty"`  // ack, presence
	Online  bool   `json:"online,omitempty"`  // presence

	ID uint64 `json:"id,omitempty"` // ping, pong

	Delay  int64  `json:"delay,omitempty"`  // going_away: milliseconds
	Reason string `json:"reason,omitempty"` // replaced
	Code   string `json:"code,omitempty"`   // error
	Text   string `json:"text,omitempty"`   // error
}

// Services are what a server offers besides introductions. The credentials are good for TTL milliseconds from now;
// a duration and no date, because the client's clock may be wrong.
type Services struct {
	STUN   []string `json:"stun,omitempty"`
	Relays []Relay  `json:"relays,omitempty"`
	TTL    int64    `json:"ttl,omitempty"`
}

// A Relay is a TURN server with credentials for it.
type Relay struct {
	URL        string `json:"url"`
	Username   string `json:"username,omitempty"`
	Credential string `json:"credential,omitempty"`
}

// Encode returns the bytes of the frame. It fails when they would exceed [MaxFrame].
func Encode(f *Frame) ([]byte, error) {
	b, err := json.Marshal(f)
	if err != nil {
		return nil, err
	}
	if len(b) > MaxFrame {
		return nil, ErrTooLarge
	}
	return b, nil
}
