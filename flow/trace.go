// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"time"
)

// A Trace is a set of hooks that a [Mux] calls as things happen, for logs and tests. They are the only callbacks there
// are. Any of them may be nil, which costs a comparison.
//
// Hooks are called on the goroutine that drives the Mux, in the middle of its work: they must not block, or the session
// stands still, and must not call the Mux or any of its handles. They are not called after Mux.Close has returned.
// Events are values that a hook may keep.
type Trace struct {
	// PacketSent is called for every packet that the driver has sent.
	PacketSent func(PacketSent)

	// PacketsAcked is called for every acknowledgement that says something new, after the losses it reveals.
	PacketsAcked func(PacketsAcked)

	// PacketLost is called for every packet that is given up. It may arrive nevertheless: SpuriousLoss is then called.
	PacketLost   func(PacketLost)
	SpuriousLoss func(SpuriousLoss)

	// MetricsUpdated is called when something in it has changed, after whatever changed it has been dealt with and
	// everything that may be sent has been.
	MetricsUpdated func(Metrics)

	// FlowOpened is called when a flow has got its number: before the first packet that names an outgoing one, when
	// an incoming one becomes known. FlowClosed is called when no message will come any more, at the latest when the
	// session ends.
	FlowOpened func(Opened)
	FlowClosed func(Closed)

	// MessageSent is called when the first byte of a message is sent. Every outgoing message comes to one of
	// MessageDelivered and MessageAbandoned, whether it has been sent or not.
	MessageSent      func(MessageSent)
	MessageDelivered func(MessageDelivered)
	MessageAbandoned func(MessageAbandoned)

	// MessageReceived is called when an incoming message is handed over, that is, can be read.
	MessageReceived func(MessageReceived)

	// Blocked is called when a flow, or the session, comes to a stop because the peer's reader is slow.
	Blocked func(Blocked)
}

// A PacketSent says that a packet has been sent.
type PacketSent struct {
	Time         time.Time
	Number       uint64
	Size         int // of the UDP payload in bytes
	AckEliciting bool
	MTUProbe     bool // it only tries whether the path carries packets as large
	InFlight     int  // bytes, this packet included
}

// A PacketsAcked says what an acknowledgement has told.
type PacketsAcked struct {
	Time     time.Time
	Packets  int           // newly acknowledged
	Bytes    int           // of them
	Largest  uint64        // the newest packet acknowledged
	RTT      time.Duration // sample; zero if there is none
	InFlight int           // bytes, after it
}

// A PacketLost says that a packet is given up.
type PacketLost struct {
	Time     time.Time
	Number   uint64
	Size     int           // of the UDP payload in bytes
	Age      time.Duration // since it was sent
	MTUProbe bool          // it only tried whether the path carries packets as large
}

// A SpuriousLoss says that a packet has arrived after it had been given up.
type SpuriousLoss struct {
	Time   time.Time
	Number uint64
	Size   int
	Age    time.Duration
}

// Metrics is the state of loss recovery and congestion control on the current path.
type Metrics struct {
	Time             time.Time
	SmoothedRTT      time.Duration
	MinRTT           time.Duration // zero: not measured yet
	CongestionWindow int           // bytes
	InFlight         int           // bytes
	PacingRate       float64       // bytes per second; zero: a little more than a window per round trip
	QueueDelay       time.Duration // how long packets are thought to wait in the path's queues
	Controller       string        // which algorithm
	Phase            string        // what it is doing, in its own words
	ProbeTimeouts    int           // consecutive
	MaxPacket        int           // largest UDP payload sent
	ECN              string        // whether marks get through: see Stats.ECN
}

// NoID is the number of an outgoing flow that has got none yet; the peer has never heard of it.
const NoID = 1 << 63

// A Ref names a flow in an event.
type Ref struct {
	ID       uint64 // or NoID
	Incoming bool   // the peer opened it
}

// An Opened says that a flow has come to be.
type Opened struct {
	Time     time.Time
	Flow     Ref
	Label    string
	Priority Priority // of an incoming flow: what the peer says it is
	Stream   bool
}

// A Closed says that nothing more will happen on a flow.
type Closed struct {
	Time time.Time
	Flow Ref
	Err  error // nil if it ended in good order
}

// A MessageSent says that the first byte of a message has been put into a packet.
type MessageSent struct {
	Time time.Time
	Flow Ref
	Seq  uint64 // its position in the flow, from 0; as Receipt.Seq and Message.Seq
	Size int
}

// A MessageDelivered says that the peer has all of a message.
type MessageDelivered struct {
	Time time.Time
	Flow Ref
	Seq  uint64
	Size int
}

// A MessageReceived says that a message can be read.
type MessageReceived struct {
	Time time.Time
	Flow Ref
	Seq  uint64
	Size int
}

// A MessageAbandoned says that a message has been given up.
type MessageAbandoned struct {
	Time   time.Time
	Flow   Ref
	Seq    uint64
	Size   int
	Reason Reason
}

// A Blocked says that a flow has run out of credit.
type Blocked struct {
	Time    time.Time
	Flow    Ref
	Session bool // the session has; the flow is the first that waits for it
	Limit   uint64
}
