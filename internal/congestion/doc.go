// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

// Package congestion holds the congestion controllers of a path: pure machines that are told what was sent, delivered
// and lost, and answer how much may be in flight and how fast it may go out.
//
//	c := congestion.NewWeir(1200)
//	for c.Window() > inFlight { // and a pacer at c.PacingRate() bytes per second permits
//		// send a packet of size bytes
//		c.HandleSent(now, number, size, inFlight)
//	}
//	// an acknowledgement arrives
//	c.HandleAck(now, &congestion.Ack{
//		Bytes: 1200, Packets: 1, Largest: number, SentAt: sentAt, RTT: rtt, PriorInFlight: inFlight, Limited: true,
//		Rate: congestion.RateSample{Delivered: 100_000, Interval: 40 * time.Millisecond},
//	})
//	// somebody starts to talk
//	c.SetDemand(now, congestion.Demand{TimeCritical: true})
//
// There are three. [NewWeir] makes the one that suits a session: it keeps the queue of the path short, holds its own
// against TCP, takes loss for congestion only if it is, and leaves room when asked to. [NewCUBIC] and [NewReno] are
// RFC 9438 and RFC 9002 §7, which fill the queue of the path and take every loss for congestion.
//
// # How a weir works
//
// The least round trip of the last ten to twenty seconds is the path's delay without a queue; what the recent ones have
// above that is the queue. In startup the window doubles in every round trip until a queue shows. Then it cruises: the
// window grows by about a packet in a round trip, faster if there is no queue for long, until 5 ms of queue stand; a cut
// takes off exactly what stands in the queue, and a little. All who do so on one path see the same queue, cut at the
// same time and by the same part, so that their shares become equal, and the queue runs empty, so that newcomers measure
// the true delay too. What is in flight beyond a smaller window runs off while sending goes on at half the rate or a
// quarter: voice is never held up.
//
// If cuts do not let the queue out, somebody else fills it. The weir then competes: its window follows CUBIC's curve,
// and losses with a full queue make it smaller. When the clock shows a multiple of two, later of four seconds, it sends
// less for three round trips, and again if its rate does not suffer; if it still does not, nobody else took the room,
// and it cruises again. As clocks agree roughly, several weirs that each took the other for TCP find out together. If the
// round trip shrinks by more than half of the part that was taken away, more than half of the queue was ours, and it
// stays away.
//
// Loss is counted over 200 packets. What does not go away when less is sent is how the path is; what exceeds twice the
// least of recent counts by five percent is congestion, with or without a queue.
//
// Asked to yield, a weir halves its window at once and then grows slowly and cuts deeper, at 2 ms of queue or half a
// packet's time, so that what other traffic is there has the path nearly for itself.
//
// # Limitations
//
// A queue that others keep full makes everybody's packets wait; a weir beside loss-based TCP gets its share, but its
// voice waits in TCP's queue. A change to a longer path looks like such a queue for some seconds: until a trial shows
// that nobody else is there, the queue may fill.
//
// Where the path becomes slower in one step, what is in flight already stands in the queue before anything can be known:
// from 20 to 5 Mbit/s at 40 ms that is about 120 ms for a quarter of a second.
//
// The queue is measured by round trips, so that a queue on the way back counts too. Marks of CE are taken as classic
// ECN; there is no L4S. Weirs on paths of very different length share unequally, as TCP does: the shorter of 40 and
// 120 ms gets up to twice as much.
//
// A weir without samples of the rate of delivery works, but leaves startup later.
package congestion
