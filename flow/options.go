// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// Priority orders the flows of a session. The zero value is Routine.
//
// Order between priorities is strict: a packet is filled with what flows of higher priority may send, repetitions
// included, before anything of lower priority goes in. But whoever has something to send is let ahead in one packet of
// 32, so that nobody waits for ever; that costs those above a packet's time. Flows of equal priority share by weight.
//
// Urgent and above are time-critical: while such a flow sends, the session keeps its queues on the path short, and a
// peer that receives it asks others to leave room.
type Priority int8

// Priorities, lowest first.
const (
	Background Priority = iota - 3 // when nothing else wants the path
	Bulk                           // transfers somebody waits for, but not this second
	Data                           // what a user waits for
	Routine                        // the default
	Urgent                         // delay is noticed
	Immediate                      // delay hurts: input, voice, control
	Flash                          // what must pass voice
	Override                       // what must pass everything
)

const levels = int(Override-Background) + 1

// level returns the scheduling level of p, 0 being served first. Values out of range count as the nearest in range.
func (p Priority) level() int8 { return int8(Override - max(Background, min(p, Override))) }

// An Ordering says in which order the messages of a flow are handed over. The zero value is Ordered.
type Ordering uint8

// Orderings.
const (
	Ordered Ordering = iota // as sent: a message waits for those before it
	Arrival                 // as they are complete: what is lost delays nothing else

	// Latest hands over the newest complete message, and never one that is older than one before: for state of which
	// only the newest counts, and readers that may be slow. A message that is complete outdates all before it, those that
	// have not been read as well as those that are missing or not complete: they are dropped, their part of the window
	// is free, and ReceiverStats.Outdated counts them as they arrive. So at most one message is at hand, and
	// Message.Seq shows how many were passed. To the sender they are Delivered, having arrived, and it repeats what
	// is lost of them unless it abandons it; see [Supersede] and [Transmits].
	//
	// It is for messages that are sent as a whole. Each part of a longer one counts as a message, as with Arrival, so that
	// parts outdate each other, and NextReader fails. A longer message that is being read when SetOrdering changes the
	// order from Ordered to Latest comes to its end first, part by part; Latest is in force from there on.
	//
	// The newest message stays at hand when the flow ends, by whatever reason but Reject. The end comes when the older
	// ones have arrived or been abandoned too. It is the receiver's choice alone: in Options it counts as Ordered.
	Latest
)

// priorityOf returns the priority that a flow opened with a level on the wire has.
func priorityOf(level uint8) Priority { return Priority(4 - int(level)) }

// MaxLabel and MaxMetadata are the largest label and metadata of a flow, in bytes.
const (
	MaxLabel    = wire.MaxLabel
	MaxMetadata = wire.MaxMetadata
)

// Options fix the properties of a flow when it is opened. The zero value, and a nil *Options, is a flow at Routine
// priority without metadata.
type Options struct {
	// Priority places the flow among the session's other flows.
	Priority Priority

	// Weight is the flow's share among flows of equal priority that have something to send, in bytes, from 1 to 255.
	// If zero, 16. Values out of range count as the nearest in range.
	Weight int

	// StartWithin, FinishWithin and Transmits apply to every message whose [SendOption] does not say otherwise. Zero
	// or less means no limit.
	StartWithin, FinishWithin time.Duration
	Transmits                 int

	// Metadata reaches the receiver before the first message. At most [MaxMetadata] bytes; it is copied.
	Metadata []byte

	// SendBuffer is how many bytes may wait to be sent or acknowledged before Send blocks. A message is taken whole
	// as soon as less than that is waiting, so one message may exceed it. Each message counts 64 bytes more than its
	// length. If zero, the default of 1 MiB is used. If negative, one message waits at a time. See also
	// Config.SessionSendBuffer.
	SendBuffer int

	// Answers, if not nil, makes this a return flow: the peer finds it not in Accept but in AcceptReturn of the Sender
	// whose flow Answers is. The peer rejects it if that Sender expects no (more) answers.
	Answers *Receiver

	// Stream tells the peer that the flow is one half of a byte stream (see [Stream]), in which message boundaries
	// mean nothing.
	Stream bool

	// Ordering tells the peer whether messages may be handed over in order of arrival, where it makes no difference
	// to the application. The receiver may choose otherwise, see [Receiver.SetOrdering]. [Latest] counts as Ordered.
	Ordering Ordering

	// Returns is how many flows of the peer may answer this one. Zero means none. See [Sender.RefuseReturns] for what
	// becomes of answers that never come.
	Returns int
}

const defaultSendBuffer = 1 << 20

func (o *Options) sendBuffer() int {
	switch {
	case o.SendBuffer == 0:
		return defaultSendBuffer
	case o.SendBuffer < 0:
		return 1
	}
	return o.SendBuffer
}

func (o *Options) weight() uint8 {
	if o.Weight == 0 {
		return defaultWeight
	}
	return uint8(max(1, min(o.Weight, 255)))
}

const defaultWeight = 16

// messageDefaults are terms for messages that have none of their own. Zero means no limit.
type messageDefaults struct {
	startWithin, finishWithin time.Duration
	transmits                 int
}

func (o *Options) messageDefaults() messageDefaults {
	return messageDefaults{max(o.StartWithin, 0), max(o.FinishWithin, 0), max(0, min(o.Transmits, maxTransmits))}
}

func (d *messageDefaults) any() bool { return *d != messageDefaults{} }

// A Config configures a [Mux]. The zero value is usable except for Wake.
type Config struct {
	// Wake is called, from any goroutine, when there is something for the driver to do: it should call Append until
	// that returns nothing. It must not block and must not call the Mux. Nil means that the driver polls.
	Wake func()

	// Hurry is called in place of Wake, by Send and TrySend with no lock held, when a message has been queued. The
	// driver may work in the caller's goroutine, and call the Mux, if nobody else is doing so. If nil, Wake is called.
	Hurry func()

	// Noted is called when the peer has acknowledged a packet that was sent with [Mux.SentNote]. It runs in the middle of
	// HandleChunk and must not call the Mux. It may be nil.
	Noted func(note uint64)

	// MaxPacket is the largest UDP payload the driver sends at first, in bytes, and the one it goes back to when larger
	// ones no longer arrive; every path must carry it. If zero or negative, 1200 is used. See [Mux.MaxPacket].
	MaxPacket int

	// RecvWindow is how many bytes the peer may send on one flow ahead of the application's reading, at first. If
	// less than 64 KiB, which the protocol grants every flow unasked, the default of 256 KiB is used. Windows above
	// 1 TiB count as 1 TiB.
	RecvWindow int

	// MaxRecvWindow is how far that grows while the application reads as fast as messages come and the window is what
	// limits them. If zero, the default of 16 MiB is used; if less than RecvWindow, the window does not grow.
	MaxRecvWindow int

	// SessionWindow bounds what of all flows together is received and unread, in bytes; the memory it is in may be
	// twice as much, and four times if messages are tiny. While it is exhausted no flow makes progress. What the peer
	// is granted starts at one and a half times MaxMessage plus 1 MiB, without which the largest message could never
	// arrive, and grows up to SessionWindow as flows' windows do. If zero or negative, the default of 64 MiB is used.
	SessionWindow int

	// SessionSendBuffer is how many bytes of messages may wait to be sent or acknowledged on all flows together, in bytes
	// as Options.SendBuffer counts them, before Send blocks on every flow on which one is waiting already: a flow may
	// always have one. So a peer that takes nothing, or acknowledges nothing, makes this end keep that much, and not more
	// the more flows there are; the memory it is in may be twice as much, and four times if messages are tiny. If zero or
	// negative, the default of 64 MiB is used.
	SessionSendBuffer int

	// MaxMessage is the largest message sent or received, in bytes. If zero or negative, 16 MiB; above 1 GiB, 1 GiB.
	// A flow on which the peer sends a larger one is rejected.
	MaxMessage int

	// MaxIncomingFlows is how many flows the peer may have open at a time, those the application has not accepted or
	// read to the end included. If zero or negative, 10000; if less than 128, which the protocol grants unasked, 128.
	MaxIncomingFlows int

	// InitialRTT is the round-trip time to assume before there is a measurement. If zero or negative, 333 ms, as
	// RFC 9002 §6.2.2 suggests.
	InitialRTT time.Duration

	// Trace has hooks that the Mux calls. It may be filled in until the driver first calls the Mux. If nil, none.
	Trace *Trace

	// Controller makes the congestion controller of a path, for packets of at most maxPacket bytes: NewWeir,
	// NewCUBIC or NewReno. If nil, NewWeir.
	Controller func(maxPacket int) Controller
}

func positiveOr(v, otherwise int) int {
	if v > 0 {
		return v
	}
	return otherwise
}

func (c *Config) maxMessage() int {
	return min(positiveOr(c.MaxMessage, wire.DefaultMaxMessage), 1<<30)
}

func (c *Config) recvWindow() uint64 {
	if c.RecvWindow < wire.InitialFlowWindow {
		return 256 << 10
	}
	return min(uint64(c.RecvWindow), maxWindow)
}

// maxWindow bounds all windows, and how many flows may be open, so that sums of credit stay what a varint can carry.
const maxWindow = 1 << 40

func (c *Config) maxRecvWindow() uint64 {
	if c.MaxRecvWindow == 0 {
		return max(16<<20, c.recvWindow())
	}
	return max(min(uint64(max(c.MaxRecvWindow, 0)), maxWindow), c.recvWindow())
}

// firstSessionWindow is what the session's window is before it grows.
func (c *Config) firstSessionWindow() uint64 {
	return uint64(c.maxMessage()*3/2 + wire.InitialSessionWindow)
}

func (c *Config) sessionWindow() uint64 {
	return max(min(uint64(positiveOr(c.SessionWindow, 64<<20)), maxWindow), c.firstSessionWindow())
}

func (c *Config) sessionSendBuffer() int64 { return int64(positiveOr(c.SessionSendBuffer, 64<<20)) }

func (c *Config) maxIncomingFlows() uint64 {
	return min(uint64(max(positiveOr(c.MaxIncomingFlows, 10_000), wire.InitialFlowCount)), maxWindow)
}
