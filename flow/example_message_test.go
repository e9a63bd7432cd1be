// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/seed-98f0d4c2/runnel/flow"
)

// A link is two machines and the way between them, in time that only the example advances. In a program a session of
// package peer stands in its place.
type link struct {
	now      time.Time
	a, b     *flow.Mux
	pnA, pnB uint64
}

func newLink() *link {
	return &link{now: time.Unix(0, 0), a: flow.NewMux(nil), b: flow.NewMux(nil)}
}

// run lets time pass and packets travel.
func (l *link) run(d time.Duration) {
	for end := l.now.Add(d); l.now.Before(end); l.now = l.now.Add(time.Millisecond) {
		l.a.HandleTimeout(l.now)
		l.b.HandleTimeout(l.now)
		carry(l.now, l.a, l.b, &l.pnA)
		carry(l.now, l.b, l.a, &l.pnB)
	}
}

// lose has a say what it can, and none of it arrive.
func (l *link) lose() {
	for len(l.a.Append(l.now, l.pnA, nil, 1171)) > 0 {
		l.a.Sent(l.now, l.pnA, 1200, false)
		l.pnA++
	}
}

// What is worthless when it is late is given up, and does not hold up what follows.
func ExampleStartWithin() {
	ctx := context.Background()
	l := newLink()
	voice, _ := l.a.Open("voice", &flow.Options{Priority: flow.Urgent})
	late, _ := voice.Send(ctx, []byte("too late"), flow.StartWithin(20*time.Millisecond))
	l.a.HandleTimeout(l.now)
	l.now = l.now.Add(time.Second) // in which nothing could be sent
	l.a.HandleTimeout(l.now)

	_, _ = voice.Send(ctx, []byte("in time"), flow.StartWithin(20*time.Millisecond))
	l.run(100 * time.Millisecond)

	r, _ := l.b.Accept(ctx)
	msg, _ := r.Recv(ctx)
	fmt.Printf("message %d: %s\n", msg.Seq, msg.Data)
	fmt.Println(late.Wait(ctx))
	// Output:
	// message 1: in time
	// flow: message abandoned: StartDeadline
}

// Options set terms for all messages of a flow, and a message has its own.
func ExampleFinishWithin() {
	ctx := context.Background()
	l := newLink()
	frames, _ := l.a.Open("video", &flow.Options{FinishWithin: 100 * time.Millisecond})
	delta, _ := frames.Send(ctx, []byte("delta"))
	title, _ := frames.Send(ctx, []byte("title"), flow.FinishWithin(0)) // none: it is needed whenever it comes
	for range 200 {
		l.lose()
		l.now = l.now.Add(time.Millisecond)
		l.a.HandleTimeout(l.now)
	}
	l.run(5 * time.Second)

	var abandoned *flow.AbandonedError
	if err := delta.Err(); errors.As(err, &abandoned) && abandoned.Reason == flow.FinishDeadline {
		fmt.Println("delta: late")
	}
	fmt.Println("title:", title.Outcome())
	stats := frames.Stats()
	fmt.Println("late frames:", stats.Abandoned[flow.FinishDeadline])
	// Output:
	// delta: late
	// title: Delivered
	// late frames: 1
}

// Frames that build on one another are given up together.
func ExampleAfter() {
	ctx := context.Background()
	l := newLink()
	video, _ := l.a.Open("video", nil)
	key, _ := video.Send(ctx, []byte("key frame"))
	first, _ := video.Send(ctx, []byte("delta"), flow.After(key))
	second, _ := video.Send(ctx, []byte("delta of the delta"), flow.After(first))
	other, _ := video.Send(ctx, []byte("another key frame"))
	key.Abandon()
	l.run(100 * time.Millisecond)

	fmt.Println(key.Reason(), first.Reason(), second.Reason())
	fmt.Println(other.Outcome())
	// Output:
	// Withdrawn ParentAbandoned ParentAbandoned
	// Delivered
}

// Of states only the newest is worth sending.
func ExampleSupersede() {
	const alice, bob = 1, 2
	ctx := context.Background()
	l := newLink()
	positions, _ := l.a.Open("positions", nil)
	old, _ := positions.Send(ctx, []byte("alice 1,1"), flow.Supersede(alice))
	_, _ = positions.Send(ctx, []byte("bob 5,5"), flow.Supersede(bob))
	_, _ = positions.Send(ctx, []byte("alice 1,2"), flow.Supersede(alice))
	_ = positions.Close(canceled())
	l.run(100 * time.Millisecond)

	r, _ := l.b.Accept(ctx)
	for msg, err := range r.Messages(ctx) {
		fmt.Printf("%s %v\n", msg.Data, err)
	}
	fmt.Println(old.Reason())
	// Output:
	// bob 5,5 <nil>
	// alice 1,2 <nil>
	// Superseded
}

// What is of no use twice is never repeated.
func ExampleTransmits() {
	ctx := context.Background()
	l := newLink()
	sensor, _ := l.a.Open("sensor", &flow.Options{Ordering: flow.Arrival})
	_, _ = sensor.Send(ctx, []byte("20.9 °C"))
	l.run(100 * time.Millisecond)
	sample, _ := sensor.Send(ctx, []byte("21.0 °C"), flow.Transmits(1))
	l.lose()
	_, _ = sensor.Send(ctx, []byte("21.1 °C"))
	l.run(time.Second)

	r, _ := l.b.Accept(ctx)
	for range 2 {
		msg, _ := r.Recv(ctx)
		fmt.Printf("%d %s\n", msg.Seq, msg.Data)
		msg.Release()
	}
	fmt.Println(sample.Reason())
	// Output:
	// 0 20.9 °C
	// 2 21.1 °C
	// TransmitLimit
}

// A flow in order of arrival does not wait for what is lost.
func ExampleReceiver_SetOrdering() {
	ctx := context.Background()
	l := newLink()
	chat, _ := l.a.Open("chat", nil)
	_, _ = chat.Send(ctx, []byte("one"))
	l.run(100 * time.Millisecond)
	r, _ := l.b.Accept(ctx)
	r.SetOrdering(flow.Arrival)

	_, _ = chat.Send(ctx, []byte("two"))
	l.lose()
	_, _ = chat.Send(ctx, []byte("three"))
	l.run(time.Second)
	for range 3 {
		msg, _ := r.Recv(ctx)
		fmt.Printf("%d %s\n", msg.Seq, msg.Data)
	}
	// Output:
	// 0 one
	// 2 three
	// 1 two
}

// Of state that changes faster than the reader looks at it, only the newest counts.
func ExampleReceiver_SetOrdering_latest() {
	ctx := context.Background()
	l := newLink()
	game, _ := l.a.Open("game", nil)
	_, _ = game.Send(ctx, []byte("tick 0"))
	l.run(100 * time.Millisecond)
	r, _ := l.b.Accept(ctx)
	r.SetOrdering(flow.Latest)

	for look := range 3 {
		for i := range 10 {
			_, _ = game.Send(ctx, fmt.Appendf(nil, "tick %d", look*10+i+1))
			l.run(10 * time.Millisecond)
		}
		l.run(100 * time.Millisecond)
		msg, _ := r.Recv(ctx)
		fmt.Printf("%d %s\n", msg.Seq, msg.Data)
		msg.Release()
	}
	fmt.Println(r.Stats().Outdated, "outdated")
	// Output:
	// 10 tick 10
	// 20 tick 20
	// 30 tick 30
	// 28 outdated
}

// A message of any length goes out as it is read, and is read as it comes.
func ExampleSender_SendFrom() {
	ctx := context.Background()
	l := newLink()
	files, _ := l.a.Open("files", nil)
	receipt, err := files.SendFrom(ctx, strings.NewReader(strings.Repeat("x", 300_000)))
	if err != nil {
		fmt.Println(err)
	}
	l.run(time.Second)

	r, _ := l.b.Accept(ctx)
	file, _ := r.NextReader(ctx)
	n, err := io.Copy(io.Discard, file)
	fmt.Println(n, err)
	l.run(time.Second)
	fmt.Println(receipt.Outcome())
	// Output:
	// 300000 <nil>
	// Delivered
}

// A writer's message ends with its Close.
func ExampleSender_Writer() {
	ctx := context.Background()
	l := newLink()
	logs, _ := l.a.Open("logs", nil)
	w := logs.Writer(ctx)
	defer w.Abort(1) // without effect once the message is whole
	for i := range 3 {
		if _, err := fmt.Fprintf(w, "line %d\n", i); err != nil {
			fmt.Println(err)
			return
		}
	}
	if err := w.Close(); err != nil {
		fmt.Println(err)
		return
	}
	l.run(100 * time.Millisecond)

	r, _ := l.b.Accept(ctx)
	text, _ := r.NextReader(ctx)
	all, err := io.ReadAll(text)
	fmt.Printf("%s%v\n", all, err)
	fmt.Println(w.Receipt().Outcome())
	// Output:
	// line 0
	// line 1
	// line 2
	// <nil>
	// Delivered
}

// What goes to many sessions is copied once. Whoever has no room for it is passed over.
func ExampleSender_TrySendPayload() {
	ctx := context.Background()
	links := []*link{newLink(), newLink(), newLink()}
	var senders []*flow.Sender
	for _, l := range links {
		s, _ := l.a.Open("state", nil)
		senders = append(senders, s)
	}

	p := flow.NewPayload([]byte("the match has begun"))
	for _, s := range senders {
		if _, err := s.TrySendPayload(p); err != nil && !errors.Is(err, flow.ErrWouldBlock) {
			fmt.Println(err)
		}
	}

	for _, l := range links {
		l.run(100 * time.Millisecond)
		r, _ := l.b.Accept(ctx)
		msg, _ := r.Recv(ctx)
		fmt.Printf("%s\n", msg.Data)
	}
	// Output:
	// the match has begun
	// the match has begun
	// the match has begun
}

// A flow that is answered: a request and its response, each on a flow of its own.
func ExampleSender_AcceptReturn() {
	ctx := context.Background()
	l := newLink()
	question, _ := l.a.Open("time", &flow.Options{Returns: 1})
	_, _ = question.Send(ctx, []byte("what time is it?"))
	l.run(100 * time.Millisecond)

	asked, _ := l.b.Accept(ctx)
	answer, _ := l.b.Open("", &flow.Options{Answers: asked})
	_, _ = answer.Send(ctx, []byte("half past three"))
	l.run(100 * time.Millisecond)

	r, _ := question.AcceptReturn(ctx)
	msg, _ := r.Recv(ctx)
	fmt.Printf("%s\n", msg.Data)
	// Output: half past three
}

// canceled returns a context that has ended: with it nothing waits.
func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}
