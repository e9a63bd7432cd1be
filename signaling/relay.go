// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package signaling

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// A Relay is a TURN server and credentials for it.
type Relay struct {
	// URL is of the form of RFC 7065: turn:host:port?transport=udp, turn:host:port?transport=tcp, turns:host:port. See
	// [ParseRelayURL].
	URL string

	Username, Credential string
}

// A RelayAddr is the content of a relay's URL.
type RelayAddr struct {
	Host      string // name or address, without brackets
	Port      uint16
	Transport string // "udp" or "tcp"
	TLS       bool   // over TCP
}

// ErrBadRelayURL is matched by every error of [ParseRelayURL].
var ErrBadRelayURL = errors.New("signaling: bad relay URL")

// ParseRelayURL parses a TURN URI, RFC 7065. Where it names no port it is 3478, or 5349 for turns (RFC 8656 §19); no
// transport means udp, or tcp for turns. TURN over DTLS, which turns with transport=udp means, is not supported.
func ParseRelayURL(s string) (RelayAddr, error) {
	fail := func(what string) (RelayAddr, error) {
		return RelayAddr{}, fmt.Errorf("%w: %q: %s", ErrBadRelayURL, s, what)
	}
	var a RelayAddr
	scheme, rest, _ := strings.Cut(s, ":")
	switch scheme {
	case "turn":
		a.Port, a.Transport = 3478, "udp"
	case "turns":
		a.Port, a.Transport, a.TLS = 5349, "tcp", true
	default:
		return fail("it starts with neither turn: nor turns:")
	}
	rest, query, hasQuery := strings.Cut(rest, "?")
	if hasQuery {
		v, err := url.ParseQuery(query)
		if err != nil || len(v) != 1 || len(v["transport"]) != 1 {
			return fail("only ?transport=udp or ?transport=tcp may follow the address")
		}
		switch t := v.Get("transport"); {
		case t == "udp" && a.TLS:
			return fail("TURN over DTLS is not supported")
		case t == "udp" || t == "tcp":
			a.Transport = t
		default:
			return fail("transport is neither udp nor tcp")
		}
	}
	host, port, err := net.SplitHostPort(rest)
	if err != nil { // no port, or worse
		host, port = strings.TrimSuffix(strings.TrimPrefix(rest, "["), "]"), ""
		if strings.Contains(host, ":") && !strings.HasPrefix(rest, "[") {
			return fail("an IPv6 address needs brackets")
		}
	}
	if port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return fail("bad port")
		}
		a.Port = uint16(n)
	}
	if host == "" || strings.ContainsAny(host, "/@[] \t\r\n") {
		return fail("bad host")
	}
	a.Host = host
	return a, nil
}

// String is the URL again, in full.
func (a RelayAddr) String() string {
	host := net.JoinHostPort(a.Host, strconv.Itoa(int(a.Port)))
	if a.TLS {
		return "turns:" + host + "?transport=tcp"
	}
	return "turn:" + host + "?transport=" + a.Transport
}
