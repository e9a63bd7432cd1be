// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/seed-98f0d4c2/runnel/peer"
)

// outboxSize is how many lines may wait for a peer: a network may be away for a while.
const outboxSize = 1024

// A contact is a peer that we talk to, or want to.
type contact struct {
	id     peer.ID
	outbox chan *line    // lines that wait for a session, or for a slow one
	woken  chan struct{} // capacity 1: there is a new link

	// Guarded by chat.mu.
	addrs   []netip.AddrPort // dialled there instead of through the rendezvous
	nick    string           // clean; empty until the peer has said it
	added   bool             // by the user: dialled again when a session ends
	keeping bool             // a goroutine sees to that
	state   state
	link    *link // the newest session; nil if there is none
	dropped int   // lines that found the outbox full
}

// A state is how things stand with a contact.
type state int

const (
	dialling  state = iota // lines wait for what comes of it
	connected              // lines go out
	waiting                // for the time to dial again; lines fail
	refused                // the peer does not want us, or is somebody else; lines fail
)

func (s state) String() string {
	return [...]string{"dialling", "connected", "waiting", "refused"}[s]
}

func newContact(id peer.ID) *contact {
	return &contact{id: id, outbox: make(chan *line, outboxSize), woken: make(chan struct{}, 1)}
}

var (
	errTooManyContacts = errors.New("too many peers")
	errNotConnected    = errors.New("not connected")
	errLags            = fmt.Errorf("it lags: %d lines are waiting", outboxSize)
)

// contact returns the contact for id and makes it if there is none. c.mu is held.
func (c *chat) contact(id peer.ID) (*contact, error) {
	if ct := c.contacts[id]; ct != nil {
		return ct, nil
	}
	if len(c.contacts) >= maxContacts {
		return nil, errTooManyContacts
	}
	ct := newContact(id)
	c.contacts[id] = ct
	return ct, nil
}

// sorted returns the contacts in the order of their IDs. c.mu is held.
func (c *chat) sorted() []*contact {
	all := make([]*contact, 0, len(c.contacts))
	for _, ct := range c.contacts {
		all = append(all, ct)
	}
	slices.SortFunc(all, func(a, b *contact) int { return a.id.Compare(b.id) })
	return all
}

// find returns the one contact that is called ref: by its nick, as it is shown, or by its ID or the beginning of it.
// c.mu is held.
func (c *chat) find(ref string) (*contact, error) {
	var found []*contact
	for _, ct := range c.sorted() {
		if ref == c.name(ct) || ref == ct.nick || len(ref) >= 4 && strings.HasPrefix(ct.id.String(), strings.ToLower(ref)) {
			found = append(found, ct)
		}
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("no peer is called %q", ref)
	case 1:
		return found[0], nil
	}
	return nil, fmt.Errorf("%d peers are called %q; say the ID", len(found), ref)
}

// set changes how things stand with ct. In states in which nobody takes lines out of the outbox, those in it fail with
// why. c.mu is held.
func (c *chat) set(ct *contact, s state, why error) {
	ct.state = s
	if s == dialling || s == connected {
		return
	}
	for {
		select {
		case ln := <-ct.outbox:
			c.settleLine(ln, ct, why)
		default:
			return
		}
	}
}
