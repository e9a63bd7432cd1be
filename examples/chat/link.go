// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/seed-98f0d4c2/runnel/flow"
	"github.com/seed-98f0d4c2/runnel/peer"
)

// greetTime is how long a peer may take to say its name until it is shown without.
const greetTime = 3 * time.Second

// A link is a session with a contact and what goes on in it.
type link struct {
	ct    *contact
	s     *peer.Session
	since time.Time
	done  chan struct{} // closed when it is over

	greet   sync.Once     // announces it
	greeted chan struct{} // closed when that is done
	files   chan struct{} // holds an element for each file being received
}

// attach takes a session into use, unless it is already, and returns its link. The session may be over.
func (c *chat) attach(s *peer.Session) *link {
	c.mu.Lock()
	defer c.mu.Unlock()
	ct, err := c.contact(s.Peer())
	if err != nil || c.quitting {
		s.Abort(peer.CodeRefused, "too many peers")
		ct = newContact(s.Peer()) // known to nobody
	}
	if ct.link != nil && ct.link.s == s {
		return ct.link
	}
	l := &link{
		ct: ct, s: s, since: time.Now(),
		done: make(chan struct{}), greeted: make(chan struct{}), files: make(chan struct{}, maxIncoming),
	}
	ct.link = l
	c.set(ct, connected, nil)
	select {
	case ct.woken <- struct{}{}:
	default:
	}
	c.wg.Go(func() { c.talk(l) })
	return l
}

// talk lives as long as the session.
func (c *chat) talk(l *link) {
	ctx, stop := context.WithCancel(c.ctx)
	var wg sync.WaitGroup
	wg.Go(func() { c.writeLines(ctx, l) })
	wg.Go(func() { c.readFlows(ctx, l) })
	wg.Go(func() { c.announceLate(ctx, l) })
	c.watch(ctx, l)
	stop()
	wg.Wait()
	c.detach(l)
	close(l.done)
}

// announceLate announces a peer that does not say its name, as another program may not.
func (c *chat) announceLate(ctx context.Context, l *link) {
	t := time.NewTimer(greetTime)
	defer t.Stop()
	select {
	case <-t.C:
		c.greet(l)
	case <-ctx.Done():
	}
}

// greet announces a peer, once.
func (c *chat) greet(l *link) {
	l.greet.Do(func() {
		c.announce(l)
		close(l.greeted)
	})
}

// announce says that we are in session with a peer.
func (c *chat) announce(l *link) {
	st := l.s.Stats()
	c.out.note("ready %s %s path=%v rtt=%s addr=%v",
		c.idText(l.ct.id), c.nameOf(l.ct), st.Path.Kind, brief(roundTrip(st)), st.Path.Remote)
}

// roundTrip is the best that is known of it.
func roundTrip(st peer.Stats) time.Duration {
	if st.RTT > 0 {
		return st.RTT
	}
	return st.Path.RTT
}

// watch tells of changes until the session is over or ctx is.
func (c *chat) watch(ctx context.Context, l *link) {
	for {
		ev, err := l.s.NextEvent(ctx)
		if err != nil {
			return
		}
		switch ev := ev.(type) {
		case peer.PathChanged:
			c.showChange(l, ev)
		case peer.Degraded:
			c.out.note("degraded %s %v addr=%v why=%q", c.nameOf(l.ct), ev.Path.Kind, ev.Path.Remote, ev.Why)
		case peer.Stalled:
			c.out.alarm("stalled %s why=%q", c.nameOf(l.ct), ev.Why)
		case peer.Resumed:
			c.out.note("resumed %s %v addr=%v gap=%s", c.nameOf(l.ct), ev.Path.Kind, ev.Path.Remote, brief(ev.Gap))
		case peer.Closed:
			c.mu.Lock()
			quiet := c.quitting || l.ct.link != l // a newer session has taken over: not worth a word
			name := c.name(l.ct)
			c.mu.Unlock()
			if !quiet {
				c.out.alarm("ended %s %s: %v", c.idText(l.ct.id), name, ev.Err)
			}
			return
		}
	}
}

// showChange tells of another path.
func (c *chat) showChange(l *link, ev peer.PathChanged) {
	from, to, name := ev.From, ev.To, c.nameOf(l.ct)
	if !c.out.human {
		c.out.note("path %s %v %v addr=%v why=%q gap=%s", name, from.Kind, to.Kind, to.Remote, ev.Why, brief(ev.Gap))
		return
	}
	c.out.note("path %s %v %v -> %v %v: %s (gap %s)", name, from.Kind, from.Remote, to.Kind, to.Remote, ev.Why, brief(ev.Gap))
}

// detach lets go of a link that is over.
func (c *chat) detach(l *link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ct := l.ct
	if ct.link != l {
		return
	}
	ct.link = nil
	why := l.s.Err()
	if why == nil {
		why = errNotConnected
	}
	switch {
	case ct.keeping:
		c.set(ct, dialling, nil) // keep decides whether it is
	case ct.added:
		c.set(ct, refused, why)
	default:
		c.set(ct, waiting, why)
		delete(c.contacts, ct.id)
	}
}

// readFlows takes the flows that the peer opens.
func (c *chat) readFlows(ctx context.Context, l *link) {
	var wg sync.WaitGroup
	defer wg.Wait()
	chatting := false
	for {
		r, err := l.s.AcceptFlow(ctx)
		if err != nil {
			return
		}
		switch {
		case r.Label() == labelChat && !chatting:
			chatting = true
			wg.Go(func() { c.readLines(ctx, l, r) })
		case r.Label() == labelFile:
			wg.Go(func() {
				// Flows know no order among each other: a file may be here before the peer's name is.
				select {
				case <-l.greeted:
					c.receiveFile(ctx, l, r)
				case <-ctx.Done():
				}
			})
		default:
			r.Reject(codeUnknownFlow)
		}
	}
}

// readLines shows what the peer says.
func (c *chat) readLines(ctx context.Context, l *link, r *flow.Receiver) {
	for {
		b, err := r.Recv(ctx)
		if err != nil {
			return
		}
		m, err := parseMessage(b.Data)
		if err != nil {
			r.Reject(codeMalformed)
			c.out.alarm("error %s: %v", c.nameOf(l.ct), err)
			return
		}
		if nick := cleanNick(m.Nick); nick != "" {
			c.mu.Lock()
			l.ct.nick = nick
			c.mu.Unlock()
			c.greet(l)
		}
		if m.Text != nil {
			c.out.said(c.nameOf(l.ct), *m.Text)
		}
	}
}

// over is why a link can no longer be used, given why an operation on it failed.
func (l *link) over(err error) error {
	if errors.Is(err, context.Canceled) && l.s.Err() != nil {
		return l.s.Err()
	}
	return err
}
