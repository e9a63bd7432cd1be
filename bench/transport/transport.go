// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
)

// A Kind says what a channel is for, which decides how a transport provides it.
type Kind byte

// The kinds of channels.
const (
	Bulk     Kind = 1 + iota // bytes, reliable and in order: Recv returns pieces of any size
	Messages                 // messages one way, as many as possible, each sent at once
	Buffered                 // the same behind a buffer, for [Transport.Stream]: a message waits until it is full, or for Flush
	Ping                     // messages both ways, each waited for
	Voice                    // messages that are worthless after [VoiceLife], beside bulk
	kinds
)

// Ours is the module that all of this is about, whose version says nothing: it is the one beside us.
const Ours = "github.com/seed-98f0d4c2/runnel"

// VoiceLife is how long a voice message is of use, in milliseconds.
const VoiceLife = 150

var kindNames = [...]string{Bulk: "bulk", Messages: "messages", Buffered: "buffered", Ping: "ping", Voice: "voice"}

func (k Kind) String() string {
	if k > 0 && k < kinds {
		return kindNames[k]
	}
	return fmt.Sprintf("Kind(%d)", byte(k))
}

// A Transport is one line of the comparison.
type Transport struct {
	Name   string
	About  string // how it is set up, a sentence
	Module string // of the library, whose version is reported; empty for what comes with Go

	// MaxMessage is the largest message in bytes, 0 meaning any. A transport whose messages are datagrams may lose them.
	MaxMessage int

	// Stream says that it has streams of bytes, so that a program can put a buffer before them.
	Stream bool

	// Variant, if not empty, is the transport that this one differs from in one thing only. Variants are run when they are
	// asked for.
	Variant string

	// Raw transports are limits of the machine, not protocols: they have Bulk, Messages and Ping, one channel at a time,
	// and are run on loopback only.
	Raw bool

	// Idle says that a process may have many connections at a time, Serial that they must be made one after the other.
	Idle, Serial bool

	Listen    func(ctx context.Context, env Env) (Listener, error)
	NewDialer func(ctx context.Context, env Env) (Dialer, error)
}

// Env is what a side of a transport is given.
type Env struct {
	Local    netip.Addr // to bind to
	Signal   Signal     // to tell the other side beforehand what it needs to know
	EventLog string     // directory for the event logs of those that write them; empty for none
}

// A Signal carries small messages between the two sides, reliably and in order.
type Signal interface {
	Send(b []byte) error
	Recv(ctx context.Context) ([]byte, error)
}

// A Listener accepts connections.
type Listener interface {
	Accept(ctx context.Context) (Conn, error)
	Close() error
}

// A Dialer makes connections to the listener at the other end of its Env's Signal.
type Dialer interface {
	Dial(ctx context.Context) (Conn, error)
	Close() error
}

// A Conn carries channels. One side opens what the other accepts, in the same order.
type Conn interface {
	Open(ctx context.Context, k Kind) (Channel, error)
	Accept(ctx context.Context, k Kind) (Channel, error)
	Close() error
}

// A Counter is a Conn that counts what it does. The counts go into the report's .csv and .json, to explain its figures.
type Counter interface {
	Counts() map[string]float64
}

// A Channel carries messages from the side that has opened it to the other, and back if it is for Ping. It is used by one
// sending and one receiving goroutine.
type Channel interface {
	// Send sends a message, or queues it while the transport has room and waits otherwise. It does not keep b.
	Send(b []byte) error

	// Flush sends what Send has kept back to send more at once: of Buffered, and of those that are datagrams.
	Flush() error

	// Recv returns the next message, in buf if the transport can and buf is large enough. It is valid until the next call.
	Recv(buf []byte) ([]byte, error)
}

var all []*Transport

// All returns the transports in the order of the report, variants included.
func All() []*Transport { return slices.Clone(all) }

// Find returns the transport of that name.
func Find(name string) (*Transport, bool) {
	for _, t := range all {
		if t.Name == name {
			return t, true
		}
	}
	return nil, false
}

func init() {
	all = []*Transport{
		runnel, runnelCUBIC, runnelReno,
		quicStreams, quicDatagrams, webRTC, libp2pQUIC, kcpFast, tlsTCP, udp, udpGSO,
	}
}
