// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"fmt"
	"testing"
	"time"
)

func TestFlowsAreDescribed(t *testing.T) {
	p := newPair(t, Config{}, Config{})
	bulk := p.open(p.a, "bulk", &Options{Priority: Bulk})
	p.open(p.a, "quiet", &Options{Priority: Urgent})
	stream := p.open(p.b, "stream", &Options{Stream: true})
	p.send1(stream, pattern(100, 1))
	p.run(time.Second)
	p.a.link.loss = 1
	p.send1(bulk, pattern(1000, 2))
	if _, err := bulk.Send(over, pattern(10, 2), Supersede(1)); err != nil {
		t.Fatal(err)
	}
	if _, err := bulk.Send(over, pattern(10, 2), Supersede(1)); err != nil {
		t.Fatal(err)
	}
	p.run(5 * time.Second)

	summary := func(infos []Info) (s string) {
		for _, i := range infos {
			s += fmt.Sprintf("%v %q %d %v; ", i.Ref, i.Label, i.Priority, i.Stream)
		}
		return s
	}
	got := p.a.m.Flows(p.now)
	want := `out 0 "bulk" -2 false; out - "quiet" 1 false; in 0 "stream" 0 true; `
	if summary(got) != want {
		t.Fatalf("flows are\n%s, want\n%s", summary(got), want)
	}
	s := got[0].Sender
	if s.InFlight == 0 || s.Sent == 0 || s.Abandoned[Superseded] != 1 || s.Retransmitted == 0 || s.UnackedAge(p.now) < 5*time.Second {
		t.Errorf("of a flow whose packets are all lost: %+v", s)
	}
	if r := got[2].Receiver; r.Bytes != 100 || r.Messages != 1 {
		t.Errorf("of a flow that has brought a message: %+v", r)
	}

	p.a.link.loss = 0
	if err := p.closeFlow(bulk); err != nil {
		t.Fatal(err)
	}
	want = `out - "quiet" 1 false; in 0 "stream" 0 true; `
	if got := summary(p.a.m.Flows(p.now)); got != want {
		t.Errorf("after the end of a flow there are\n%s, want\n%s", got, want)
	}
	p.a.m.Close(p.now, errTestOver)
	if got := p.a.m.Flows(p.now); len(got) != 0 {
		t.Errorf("after the end of the session there are %s", summary(got))
	}
}
