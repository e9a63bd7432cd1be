// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

// Package flow multiplexes message flows over one session: the protocol between two peers once packets can be sealed
// and delivered.
//
// A flow is unidirectional and carries messages that keep their boundaries, in order and reliably. Opening one costs no
// round trip: label and metadata travel with the first message. The ends are a [Sender] and a [Receiver]; applications
// get them from a session of package peer:
//
//	s, err := session.OpenFlow("chat", &flow.Options{Priority: flow.Urgent})
//	receipt, err := s.Send(ctx, []byte("hello"))   // blocks only while too much is waiting
//	err = receipt.Wait(ctx)                        // nil: the peer has it
//	err = s.Close(ctx)                             // and everything before
//
//	r, err := session.AcceptFlow(ctx)              // r.Label() == "chat"
//	for msg, err := range r.Messages(ctx) {
//		// err ends the loop; an orderly close ends it without one
//	}
//
// # Receiving
//
// A message's memory goes back to where it came from with [Message.Release], which is optional: without it the garbage
// collector has the work. Afterwards other messages are in it. A flow in order of arrival ([Receiver.SetOrdering])
// hands over what is complete at once, and one with [Receiver.SetMaxWait] lets a message wait behind a gap for so long
// and no longer; one that is [Latest] gives a slow reader the newest message in place of a backlog. A message that need
// not be in memory as a whole is read with [Receiver.NextReader]:
//
//	for {
//		mr, err := r.NextReader(ctx)
//		if err != nil {
//			break // io.EOF after the last
//		}
//		_, err = io.Copy(file, mr)
//	}
//
// # What slowness causes
//
// A receiver that does not read stops its own flow when its window is full, and no other. The window is
// Config.RecvWindow at first and grows up to Config.MaxRecvWindow while the reader keeps up. The sender of that flow
// sees Send block, or TrySend return [ErrWouldBlock], once Options.SendBuffer is full too, or Config.SessionSendBuffer,
// which all flows share. A sender whose path is slow
// sees the same. Nothing is dropped silently: every message that Send took has a [Receipt], and every receipt comes to
// exactly one outcome, at the latest when the session ends.
//
// # What is late
//
// Messages that are worthless when they are late need not stand in the way of those that follow. A [SendOption], or
// [Options] for all messages of a flow, says when one may be given up; the receiver of an ordered flow is led past it
// within a round trip and sees a gap in the numbers:
//
//	key, err := s.Send(ctx, keyFrame, flow.FinishWithin(2*time.Second))
//	delta, err := s.Send(ctx, frame, flow.After(key), flow.StartWithin(100*time.Millisecond))
//	_, err = s.Send(ctx, position, flow.Supersede(playerID)) // only the newest matters
//	_, err = s.Send(ctx, sample, flow.Transmits(1))          // never repeated
//	key.Abandon()                                            // and with it all that depends on it
//
// Deadlines are kept by timers: a message is given up at its time, its receipt resolved, its memory freed. See [Reason]
// for what a receipt says then. [Sender.Stats] tells how long messages wait, so that a source can produce less.
//
// # Long messages
//
// A message that is too long for Send, or that should not be in memory as a whole, goes out in parts:
//
//	receipt, err := s.SendFrom(ctx, file)  // or s.Writer(ctx), an io.WriteCloser
//
// # Many recipients
//
// What goes to many sessions is copied once, not once for each:
//
//	p := flow.NewPayload(state)
//	for _, s := range senders {
//		_, err := s.TrySendPayload(p, flow.Supersede(stateKey)) // does not wait for the slow ones
//	}
//
// # Cancellation
//
// A context bounds waiting and nothing else. What is at hand is returned even if the context has ended, and ending a
// context after a call returned has no effect. Flows live until they are closed, aborted, rejected, or the session
// ends.
//
// # The machine
//
// A [Mux] holds all flows of one end of a session. It is a pure machine: it has no goroutine, clock or socket. One
// goroutine, the driver's loop, feeds it chunks ([Mux.HandleChunk], [Mux.HandlePacketEnd]), asks it for what to send
// ([Mux.Append], [Mux.Sent]) and tells it the time ([Mux.HandleTimeout], [Mux.NextTimeout]). The loop's rule: after
// anything has been handled, and when Wake has been called, call Append until it returns nothing, then sleep until
// NextTimeout or the next packet.
//
//	for {
//		for {
//			b := mux.Append(now, pn, header, limit)
//			if len(b) == len(header) {
//				break
//			}
//			// seal and send b
//			mux.Sent(now, pn, size, false)
//			pn++
//		}
//		// wait for a packet, Wake, or mux.NextTimeout(); then HandleChunk and HandlePacketEnd, or HandleTimeout
//	}
//
// The loop owns all of the machine's state without a lock. Open, Accept, Close on a Sender, Stats and everything on a
// Sender, Receiver or Receipt may be called from any goroutine; they meet the loop at gates (package internal/gate),
// which neither side holds for long.
//
// A packet's way through the files: Sender.Send (sender.go) queues a copy and wakes the loop; Mux.Append (mux_send.go)
// collects it, asks package internal/recovery whether anything may be sent, lets sched.go choose a flow and
// send_append.go cut a fragment, and notes as items (item.go) what the packet said. At the other end Mux.HandleChunk
// (mux_recv.go) checks it against the credit granted and recv_flow.go assembles the message, which HandlePacketEnd
// hands to Receiver.Recv. The acknowledgement comes back to internal/recovery, which tells mux_loss.go the fate of each
// packet; what was lost is said again, in whatever packet comes next.
//
// Loss detection and round-trip times follow RFC 9002, acknowledgements RFC 9000 §13.2. The chunks are
// described in docs/PROTOCOL.md.
//
// A driver that can do more than send packets of one size asks the Mux, for every packet, how large it may be
// ([Mux.MaxPacket]) and how to mark it ([Mux.ECN]), whether to try a larger one ([Mux.MTUProbe]), passes the marks of
// those that arrive to HandlePacketEnd, and says with ResetPath, before the first packet too, what the path may carry.
//
// # Watching
//
// [Config.Trace] has hooks for packets, losses, flows and messages. [Mux.Stats], [Sender.Stats], [Receiver.Stats] and
// [Mux.Flows] are snapshots.
//
// # Limitations
//
// A large message is begun when the session's window has room for all of it; smaller ones may pass it by while it
// waits. The order within a flow is that of sending: a message with an early deadline does not overtake those before
// it. What is queued in one session does not compete with other sessions of the endpoint. A message that was abandoned
// after all of it had been sent may have arrived: the two ends can differ about that. Windows grow and never shrink.
// NextReader needs a flow in order, and takes each gap that SetMaxWait passes for an abandoned part. A message, or a
// part of one, that was queued before the peer has told the largest it takes, and is larger, aborts its flow.
package flow
