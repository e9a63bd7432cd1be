// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"time"
)

// A talker is a chat and its side of the conversation.
type talker struct {
	*process
	r     *reader
	nick  string
	id    string
	dir   string
	lines int   // said so far
	notes *tail // what it prints beside lines, once somebody sorts that
}

// startPeers starts the two chats and waits until the rendezvous knows them.
func (d *demo) startPeers(ctx context.Context, rendezvous string) (alice, bob *talker, err error) {
	if alice, err = d.startPeer(ctx, exec.CommandContext, "alice", rendezvous, d.here()...); err != nil {
		return nil, nil, err
	}
	bob, err = d.startPeer(ctx, exec.CommandContext, "bob", rendezvous, d.here()...)
	return alice, bob, err
}

// here are the flags of chats that talk to each other on this machine.
func (d *demo) here() []string {
	if d.relayed {
		return []string{"--loopback", "--relay-only"}
	}
	return []string{"--loopback"}
}

func (d *demo) startPeer(ctx context.Context, at command, nick, rendezvous string, more ...string) (*talker, error) {
	dir, err := d.mkdir(nick)
	if err != nil {
		return nil, err
	}
	args := append([]string{"--rendezvous", rendezvous, "--ephemeral", "--nick", nick, "--log-level", "debug"}, more...)
	p, err := d.start(ctx, at, nick, "chat", dir, args...)
	if err != nil {
		return nil, err
	}
	t := &talker{process: p, r: &reader{t: p.out}, nick: nick, dir: dir, notes: newTail()}
	id, err := t.hear(ctx, `\* id (\S+).*`, startTime)
	if err != nil {
		return nil, err
	}
	t.id = id[1]
	d.fact(nick, "%s", t.id)
	_, err = t.hear(ctx, `\* online .*`, startTime)
	return t, err
}

// hear waits for a line that the chat prints.
func (t *talker) hear(ctx context.Context, pattern string, limit time.Duration) ([]string, error) {
	return t.expect(ctx, t.r, pattern, limit)
}

// write types a line.
func (t *talker) write(line string) error {
	if _, err := io.WriteString(t.stdin, line+"\n"); err != nil {
		return fmt.Errorf("%s takes no input: %w", t.nick, err)
	}
	return nil
}
