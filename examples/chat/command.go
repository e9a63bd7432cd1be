// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/signaling"
)

const help = `/add ID [ID…]           talk to these peers; ID@host:port dials an address with no rendezvous
/peers                  who is there
/send FILE [ID|NICK]    send a file; "quote a name" with spaces
/path [ID|NICK]         how packets travel, and how the session came to be
/why [ID|NICK]          why they travel so, and what has been decided about it
/whoami                 our ID, addresses and rendezvous
/help                   this
/quit                   end
//text                  says /text
Everything else is said to all peers. In place of an ID its beginning will do for /send and /path.
`

// handle carries out one line of input and reports whether it was the last.
func (c *chat) handle(ctx context.Context, input string) (quit bool) {
	text := strings.TrimSpace(input)
	rest, isCommand := strings.CutPrefix(text, "/")
	switch {
	case text == "":
		return false
	case !isCommand || strings.HasPrefix(rest, "/"):
		c.say(strings.TrimPrefix(text, "/"))
		return false
	}
	words, err := splitWords(rest)
	if err == nil && len(words) == 0 {
		err = errors.New("no command; try /help")
	}
	if err == nil {
		quit, err = c.command(ctx, words[0], words[1:])
	}
	if err != nil {
		c.out.alarm("error %v", err)
	}
	return quit
}

func (c *chat) command(ctx context.Context, name string, args []string) (quit bool, err error) {
	most := map[string]int{"add": maxContacts, "peers": 0, "send": 2, "path": 1, "why": 1, "whoami": 0, "help": 0, "quit": 0}
	limit, known := most[name]
	switch {
	case !known:
		return false, fmt.Errorf("no command /%s; try /help", name)
	case len(args) > limit:
		return false, fmt.Errorf("/%s: %d arguments are too many; try /help", name, len(args))
	}
	switch name {
	case "add":
		return false, c.addAll(ctx, args)
	case "peers":
		c.out.text(c.peerTable())
	case "send":
		return false, c.sendCommand(args)
	case "path":
		return false, c.showPaths(args)
	case "why":
		return false, c.explainPaths(args)
	case "whoami":
		c.whoami()
	case "help":
		c.out.text(help)
	case "quit":
		return true, nil
	}
	return false, nil
}

func (c *chat) addAll(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("/add: whom?")
	}
	targets := make([]peer.Target, len(args))
	for i, a := range args {
		t, err := parseTarget(ctx, a)
		if err != nil {
			return err
		}
		if len(t.Addrs) == 0 && c.signaler == nil && !c.lan {
			return fmt.Errorf("%s: without --rendezvous or --lan say ID@host:port", t.ID.Short())
		}
		targets[i] = t
	}
	for _, t := range targets {
		if err := c.add(t); err != nil {
			return fmt.Errorf("%s: %w", t.ID.Short(), err)
		}
		c.out.aside("added %s", c.idText(t.ID))
	}
	return nil
}

// parseTarget parses ID or ID@host:port and looks up the host.
func parseTarget(ctx context.Context, s string) (peer.Target, error) {
	idText, addr, hasAddr := strings.Cut(s, "@")
	id, err := signaling.ParsePeerID(idText)
	if err != nil || !hasAddr {
		return peer.Target{ID: id}, err
	}
	addrs, err := lookup(ctx, addr)
	if err != nil {
		return peer.Target{}, fmt.Errorf("%s: %w", addr, err)
	}
	return peer.Target{ID: id, Addrs: addrs}, nil
}

// lookup returns the addresses that host:port means.
func lookup(ctx context.Context, hostPort string) ([]netip.AddrPort, error) {
	host, portText, err := net.SplitHostPort(hostPort)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil || port == 0 {
		return nil, fmt.Errorf("%q is no port", portText)
	}
	ctx, cancel := context.WithTimeout(ctx, closeTime)
	defer cancel()
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	addrs := make([]netip.AddrPort, len(ips))
	for i, ip := range ips {
		addrs[i] = netip.AddrPortFrom(ip.Unmap(), uint16(port))
	}
	return addrs, nil
}

// splitWords splits at spaces. Quotes of either kind keep words together; a backslash is an ordinary character, as it is
// in file names on Windows.
func splitWords(s string) ([]string, error) {
	var words []string
	var word strings.Builder
	var quote rune
	in := false // a word, be it empty
	for _, r := range s {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '"' || r == '\'':
			quote, in = r, true
		case r == ' ' || r == '\t':
			if in {
				words = append(words, word.String())
				word.Reset()
				in = false
			}
		default:
			word.WriteRune(r)
			in = true
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("a %c is missing", quote)
	}
	if in {
		words = append(words, word.String())
	}
	return words, nil
}
