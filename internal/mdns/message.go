// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mdns

import (
	"encoding/base32"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// Service is the name under which peers look for each other.
const Service = "_runnel._udp.local."

const (
	local    = ".local."
	topBit   = 1 << 15 // of a class: QU in a question (RFC 6762 §5.4), cache-flush in a record (§10.2)
	recordIs = 1       // seconds that an answer may be kept: nobody will ask for the same name again

	// MaxMessage is the size of the longest message made or read, in bytes.
	MaxMessage = 512
	// MaxAddrs is how many addresses an answer names at most.
	MaxAddrs = 4
)

// Multicast DNS keeps the case of names (RFC 6762 §16), and nobody else writes ours.
var encoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

var groups = map[string]netip.AddrPort{
	"udp4": netip.MustParseAddrPort("224.0.0.251:5353"),
	"udp6": netip.MustParseAddrPort("[ff02::fb]:5353"),
}

// Group returns where multicast DNS is spoken: network is "udp4" or "udp6".
func Group(network string) netip.AddrPort { return groups[network] }

// A Query asks for a peer.
type Query struct {
	Nonce   Nonce
	Unicast bool // the answer shall go to the one who asks, not to the group
	tag     Tag
}

// For reports whether the query is for id. Queries of more than some minutes ago are for nobody.
func (q *Query) For(id ID, now time.Time) bool { return wants(id, q.Nonce, q.tag, now) }

// An Answer says where a peer listens. It is a hint from somebody who knows the peer's ID, which need not be the peer.
type Answer struct {
	Nonce Nonce // of the query
	Port  uint16
	Addrs []netip.Addr
	tag   Tag
}

// Authentic reports whether the answer was made by somebody who knows id, and says what it said then.
func (a *Answer) Authentic(id ID) bool { return answerTag(id, a.Nonce, a.Port, a.Addrs) == a.tag }

// A Message is a query or an answer.
type Message struct {
	Query  *Query
	Answer *Answer
}

// AppendQuery appends a query for id to b.
func AppendQuery(b []byte, q Query, id ID, now time.Time) []byte {
	q.tag = queryTag(id, q.Nonce, period(now))
	m := dnsmessage.NewBuilder(b, dnsmessage.Header{}) // the ID is zero: RFC 6762 §18.1
	class := dnsmessage.ClassINET
	if q.Unicast {
		class |= topBit
	}
	must(m.StartQuestions())
	must(m.Question(dnsmessage.Question{Name: queryName(q.Nonce, q.tag), Type: dnsmessage.TypeSRV, Class: class}))
	return finish(m)
}

// AppendAnswer appends the answer of the peer with the given ID to a query: it listens at port of up to MaxAddrs addresses.
func AppendAnswer(b []byte, q *Query, id ID, port uint16, addrs []netip.Addr) []byte {
	addrs = addrs[:min(len(addrs), MaxAddrs)]
	tag := answerTag(id, q.Nonce, port, addrs)
	target := dnsmessage.MustNewName(encoding.EncodeToString(tag[:]) + local)
	header := func(n dnsmessage.Name) dnsmessage.ResourceHeader {
		return dnsmessage.ResourceHeader{Name: n, Class: dnsmessage.ClassINET | topBit, TTL: recordIs}
	}
	m := dnsmessage.NewBuilder(b, dnsmessage.Header{Response: true, Authoritative: true}) // RFC 6762 §18.4
	m.EnableCompression()
	must(m.StartAnswers()) // and no question: RFC 6762 §6
	must(m.SRVResource(header(queryName(q.Nonce, q.tag)), dnsmessage.SRVResource{Port: port, Target: target}))
	must(m.StartAdditionals())
	for _, a := range addrs {
		if a.Is4() {
			must(m.AResource(header(target), dnsmessage.AResource{A: a.As4()}))
		} else {
			must(m.AAAAResource(header(target), dnsmessage.AAAAResource{AAAA: a.As16()}))
		}
	}
	return finish(m)
}

// Parse reads a message. It reports false for all that is not exactly a query or an answer as made here; most of what is
// heard on the group is not.
func Parse(b []byte) (m Message, ok bool) {
	if len(b) > MaxMessage {
		return m, false
	}
	var p dnsmessage.Parser
	h, err := p.Start(b)
	if err != nil || h.OpCode != 0 || h.RCode != dnsmessage.RCodeSuccess || h.Truncated {
		return m, false // RFC 6762 §18.3, §18.11
	}
	if h.Response {
		m.Answer, ok = parseAnswer(&p)
	} else {
		m.Query, ok = parseQuery(&p)
	}
	return m, ok
}

func parseQuery(p *dnsmessage.Parser) (*Query, bool) {
	question, err := p.Question()
	if err != nil || question.Type != dnsmessage.TypeSRV || question.Class&^topBit != dnsmessage.ClassINET {
		return nil, false
	}
	if _, err := p.Question(); err != dnsmessage.ErrSectionDone { //nolint:errorlint // the parser returns it bare
		return nil, false // ours ask one thing
	}
	q := &Query{Unicast: question.Class&topBit != 0}
	var ok bool
	q.Nonce, q.tag, ok = parseName(question.Name)
	return q, ok
}

func parseAnswer(p *dnsmessage.Parser) (*Answer, bool) {
	if p.SkipAllQuestions() != nil {
		return nil, false
	}
	h, err := p.AnswerHeader()
	if err != nil || h.Type != dnsmessage.TypeSRV || h.Class&^topBit != dnsmessage.ClassINET {
		return nil, false
	}
	srv, err := p.SRVResource()
	if err != nil || srv.Port == 0 {
		return nil, false
	}
	a := &Answer{Port: srv.Port}
	var ok bool
	if a.Nonce, _, ok = parseName(h.Name); !ok {
		return nil, false
	}
	if ok = decode(a.tag[:], srv.Target.String(), local); !ok || p.SkipAllAnswers() != nil || p.SkipAllAuthorities() != nil {
		return nil, false
	}
	for len(a.Addrs) < MaxAddrs {
		h, err := p.AdditionalHeader()
		if err != nil {
			break
		}
		switch {
		case h.Type == dnsmessage.TypeA && h.Name == srv.Target:
			r, err := p.AResource()
			if err != nil {
				return nil, false
			}
			a.Addrs = append(a.Addrs, netip.AddrFrom4(r.A))
		case h.Type == dnsmessage.TypeAAAA && h.Name == srv.Target:
			r, err := p.AAAAResource()
			if err != nil {
				return nil, false
			}
			a.Addrs = append(a.Addrs, netip.AddrFrom16(r.AAAA))
		default:
			if p.SkipAdditional() != nil {
				return nil, false
			}
		}
	}
	return a, len(a.Addrs) > 0
}

func queryName(n Nonce, t Tag) dnsmessage.Name {
	return dnsmessage.MustNewName(encoding.EncodeToString(append(n[:], t[:]...)) + "." + Service)
}

func parseName(name dnsmessage.Name) (n Nonce, t Tag, ok bool) {
	var b [len(n) + len(t)]byte
	ok = decode(b[:], name.String(), "."+Service)
	copy(n[:], b[:])
	copy(t[:], b[len(n):])
	return n, t, ok
}

// decode reads the first label of a name that ends in suffix into b, which it must fill.
func decode(b []byte, name, suffix string) bool {
	label, ok := strings.CutSuffix(name, suffix)
	if !ok || len(label) != encoding.EncodedLen(len(b)) {
		return false
	}
	n, err := encoding.Decode(b, []byte(label))
	return err == nil && n == len(b)
}

func finish(m dnsmessage.Builder) []byte {
	b, err := m.Finish()
	must(err)
	return b
}

// must is for what can only fail when a message is too long, or made in the wrong order.
func must(err error) {
	if err != nil {
		panic("mdns: " + err.Error())
	}
}
