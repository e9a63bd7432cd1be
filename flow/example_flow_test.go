// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-98f0d4c2/runnel/flow"
)

// outage lets time pass in which nothing arrives.
func (l *link) outage(d time.Duration) {
	for end := l.now.Add(d); l.now.Before(end); l.now = l.now.Add(time.Millisecond) {
		l.a.HandleTimeout(l.now)
		l.b.HandleTimeout(l.now)
		l.lose()
	}
}

// Who must not wait learns that too much is waiting, and produces less.
func ExampleSender_TrySend() {
	l := newLink()
	video, _ := l.a.Open("video", &flow.Options{SendBuffer: 1000})
	for frame := range 3 {
		_, err := video.TrySend(make([]byte, 600))
		switch {
		case errors.Is(err, flow.ErrWouldBlock):
			fmt.Println("frame", frame, "is left out")
		case err != nil:
			fmt.Println(err) // the flow, or the session, is over
			return
		}
	}
	l.run(100 * time.Millisecond) // the peer acknowledges what was sent
	_, err := video.TrySend(make([]byte, 600))
	fmt.Println(err)
	// Output:
	// frame 2 is left out
	// <nil>
}

// What is sent is decided when there is room for it, not before.
func ExampleSender_WaitWritable() {
	ctx := context.Background()
	l := newLink()
	state, _ := l.a.Open("state", &flow.Options{SendBuffer: -1}) // one message at a time
	_, _ = state.Send(ctx, []byte("at 12:00"))
	fmt.Println(state.WaitWritable(canceled())) // it would have to wait
	l.run(100 * time.Millisecond)
	if err := state.WaitWritable(ctx); err == nil {
		_, _ = state.Send(ctx, []byte("at 12:05")) // what is true now
	}
	l.run(100 * time.Millisecond)

	r, _ := l.b.Accept(ctx)
	for range 2 {
		msg, _ := r.Recv(ctx)
		fmt.Printf("%s\n", msg.Data)
	}
	// Output:
	// context canceled
	// at 12:00
	// at 12:05
}

// Who is urgent passes what has been waiting for longer.
func ExamplePriority() {
	ctx := context.Background()
	l := newLink()
	photo, _ := l.a.Open("photo", &flow.Options{Priority: flow.Bulk})
	_, _ = photo.Send(ctx, make([]byte, 100_000))
	music, _ := l.a.Open("music", &flow.Options{Priority: flow.Bulk})
	_, _ = music.Send(ctx, make([]byte, 100_000))
	keys, _ := l.a.Open("keys", &flow.Options{Priority: flow.Immediate})
	_, _ = keys.Send(ctx, []byte("jump"))
	music.SetPriority(flow.Data) // somebody has pressed play
	l.run(time.Second)

	for range 3 { // in the order in which they began to arrive
		r, _ := l.b.Accept(ctx)
		fmt.Println(r.Label())
	}
	// Output:
	// keys
	// music
	// photo
}

// A flow in order need not wait for ever for what is lost.
func ExampleReceiver_SetMaxWait() {
	ctx := context.Background()
	l := newLink()
	events, _ := l.a.Open("events", nil)
	_, _ = events.Send(ctx, []byte("one"))
	l.run(100 * time.Millisecond)
	r, _ := l.b.Accept(ctx)
	r.SetMaxWait(20 * time.Millisecond)

	_, _ = events.Send(ctx, []byte("two"))
	l.lose()
	_, _ = events.Send(ctx, []byte("three"))
	l.run(time.Millisecond)
	l.outage(100 * time.Millisecond)
	l.run(time.Second)
	for range 3 {
		msg, _ := r.Recv(ctx)
		fmt.Printf("%d %s, late: %v\n", msg.Seq, msg.Data, msg.Late)
	}
	// Output:
	// 0 one, late: false
	// 2 three, late: false
	// 1 two, late: true
}

// A source can tell from what waits that it produces too much.
func ExampleSender_Stats() {
	ctx := context.Background()
	l := newLink()
	voice, _ := l.a.Open("voice", nil)
	for range 3 {
		_, _ = voice.Send(ctx, make([]byte, 100))
	}
	l.a.HandleTimeout(l.now)
	l.now = l.now.Add(300 * time.Millisecond) // in which nothing could be sent
	stats := voice.Stats()
	fmt.Printf("%d messages, %d bytes, for %v\n", stats.Queued, stats.QueuedBytes, stats.QueueAge(l.now))

	l.run(100 * time.Millisecond)
	stats = voice.Stats()
	fmt.Printf("%d waiting, %d delivered\n", stats.Queued, stats.Delivered)
	// Output:
	// 3 messages, 300 bytes, for 300ms
	// 0 waiting, 3 delivered
}

// What is no longer wanted is taken back.
func ExampleReceipt_Abandon() {
	ctx := context.Background()
	l := newLink()
	photos, _ := l.a.Open("photos", nil)
	first, _ := photos.Send(ctx, make([]byte, 10_000))
	l.run(100 * time.Millisecond)
	second, _ := photos.Send(ctx, make([]byte, 500_000)) // begun, but not all of it is sent
	l.lose()
	second.Abandon()
	_, _ = photos.Send(ctx, []byte("the end"))
	l.run(time.Second)
	fmt.Println(first.Outcome(), second.Reason(), "sent:", second.Sent())

	r, _ := l.b.Accept(ctx)
	for range 2 {
		msg, _ := r.Recv(ctx)
		fmt.Printf("message %d, %d bytes\n", msg.Seq, len(msg.Data))
	}
	// Output:
	// Delivered Withdrawn sent: false
	// message 0, 10000 bytes
	// message 2, 7 bytes
}

// A deadline can be set, put off and brought forward while a message is on its way.
func ExampleReceipt_SetDeadline() {
	ctx := context.Background()
	l := newLink()
	moves, _ := l.a.Open("moves", nil)
	move, _ := moves.Send(ctx, []byte("e2e4"))
	l.lose()
	move.SetDeadline(time.Time{}, l.now.Add(50*time.Millisecond)) // the other player's clock runs out
	l.outage(49 * time.Millisecond)
	fmt.Println(move.Outcome())
	l.outage(2 * time.Millisecond)
	fmt.Println(move.Outcome(), move.Reason())
	// Output:
	// Pending
	// Abandoned FinishDeadline
}

// Hooks tell what happens, when it happens.
func ExampleTrace() {
	ctx := context.Background()
	l := newLink()
	l.a = flow.NewMux(&flow.Config{Trace: &flow.Trace{
		FlowOpened:       func(e flow.Opened) { fmt.Printf("flow %d is %q\n", e.Flow.ID, e.Label) },
		MessageSent:      func(e flow.MessageSent) { fmt.Printf("message %d, %d bytes\n", e.Seq, e.Size) },
		MessageDelivered: func(e flow.MessageDelivered) { fmt.Printf("message %d delivered\n", e.Seq) },
		FlowClosed:       func(e flow.Closed) { fmt.Printf("flow %d: %v\n", e.Flow.ID, e.Err) },
	}})
	chat, _ := l.a.Open("chat", nil)
	_, _ = chat.Send(ctx, []byte("hello"))
	_ = chat.Close(canceled()) // does not wait
	l.run(100 * time.Millisecond)
	// Output:
	// flow 0 is "chat"
	// message 0, 5 bytes
	// message 0 delivered
	// flow 0: <nil>
}
