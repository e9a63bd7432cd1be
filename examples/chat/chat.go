// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/signaling"
)

const (
	maxContacts = 256
	dialTime    = 20 * time.Second // for one attempt to reach a peer
)

// A chat is this program's end of all conversations. Its methods may be called from any goroutine.
type chat struct {
	out        *screen
	nick       string
	dir        string // where received files go
	maxFile    int64  // bytes; larger ones are refused
	acceptAny  bool   // whether peers that were not added may start sessions
	rendezvous string // URL; empty if there is none
	lan        bool   // peers are found on the local network
	ep         *peer.Endpoint

	signaler signaling.Signaler // nil if there is no rendezvous; the endpoint owns it

	pending  pending       // lines and files that are under way
	outgoing chan struct{} // holds an element for each file being sent

	ctx  context.Context //nolint:containedctx // ends with the chat, bounds its background work
	stop context.CancelFunc
	wg   sync.WaitGroup // everything that was started

	mu       sync.Mutex // guards the following, and what contacts and lines say it does
	contacts map[peer.ID]*contact
	lines    int // typed so far
	quitting bool
}

// newChat returns a chat that shows what happens on out. It does nothing before listen and start.
func newChat(out *screen, nick, dir string, maxFile int64) *chat {
	c := &chat{
		out: out, nick: cleanNick(nick), dir: dir, maxFile: maxFile, acceptAny: true,
		contacts: make(map[peer.ID]*contact), outgoing: make(chan struct{}, maxOutgoing),
	}
	c.ctx, c.stop = context.WithCancel(context.Background())
	return c
}

// listen opens the endpoint.
func (c *chat) listen(ctx context.Context, cfg *peer.Config) error {
	cfg.Authorize = c.authorize
	cfg.MaxMessage = maxMessage
	cfg.MaxSessions = maxContacts
	ep, err := peer.Listen(ctx, cfg)
	if err != nil {
		return err
	}
	c.ep, c.lan = ep, cfg.LAN
	if cfg.Signaler != nil {
		c.signaler = cfg.Signaler
	}
	if c.nick == "" {
		c.nick = ep.ID().Short()
	}
	return nil
}

// authorize is asked when a peer that we did not dial wants to talk.
func (c *chat) authorize(_ context.Context, id peer.ID) error {
	if c.acceptAny {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if ct := c.contacts[id]; ct != nil && ct.added {
		return nil
	}
	return errors.New("not added")
}

// start says who we are and lets peers in.
func (c *chat) start() {
	c.out.note("id %v", c.ep.ID())
	if c.signaler == nil {
		for _, a := range c.ep.LocalAddrs() {
			c.out.note("address %v", a)
		}
	} else {
		c.wg.Go(c.waitOnline)
	}
	c.wg.Go(c.accept)
}

// accept takes the sessions that peers open.
func (c *chat) accept() {
	for {
		s, err := c.ep.Accept(c.ctx)
		if err != nil {
			return
		}
		c.attach(s)
	}
}

// settle waits until nothing is under way any more, but no longer than limit unless that is zero.
func (c *chat) settle(ctx context.Context, limit time.Duration) {
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	select {
	case <-c.pending.idle():
	case <-ctx.Done():
	}
}

// close ends everything in good order: files are called off, lines that were sent are given some time to arrive.
func (c *chat) close() {
	c.mu.Lock()
	c.quitting = true
	c.mu.Unlock()
	c.stop()
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	_ = c.ep.Close(ctx)
	c.wg.Wait()
}

// pending counts what is to be finished before the program ends. The zero value is ready to use.
type pending struct {
	mu    sync.Mutex
	n     int
	empty chan struct{} // closed when n becomes zero; nil if nobody waits
}

func (p *pending) add() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n++
}

func (p *pending) done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n--
	if p.n == 0 && p.empty != nil {
		close(p.empty)
		p.empty = nil
	}
}

// idle returns a channel that is closed when there is nothing to finish.
func (p *pending) idle() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.n == 0 {
		c := make(chan struct{})
		close(c)
		return c
	}
	if p.empty == nil {
		p.empty = make(chan struct{})
	}
	return p.empty
}

// name is how a peer is shown: its nick, with a piece of its ID when another one calls itself the same. c.mu is held.
func (c *chat) name(ct *contact) string {
	if ct.nick == "" {
		return ct.id.Short()
	}
	same := ct.nick == c.nick
	for _, other := range c.contacts {
		same = same || other != ct && other.nick == ct.nick
	}
	if same {
		return fmt.Sprintf("%s~%s", ct.nick, ct.id.Short())
	}
	return ct.nick
}

// nameOf is name for those who do not hold c.mu.
func (c *chat) nameOf(ct *contact) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.name(ct)
}

// idText is whole for programs and short for people.
func (c *chat) idText(id peer.ID) string {
	if c.out.human {
		return id.Short()
	}
	return id.String()
}
