// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mdns

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

var (
	start = time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)
	alice = ID(bytes.Repeat([]byte{0xa1}, 32))
	bob   = ID(bytes.Repeat([]byte{0xb0}, 32))
	addrs = []netip.Addr{
		netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8::7"),
		netip.MustParseAddr("169.254.3.4"), netip.MustParseAddr("fd00::1"),
	}
)

func nonce(i int) (n Nonce) {
	rng := rand.New(rand.NewPCG(uint64(i), 1))
	for k := range n {
		n[k] = byte(rng.Uint32())
	}
	return n
}

func query(t *testing.T, i int, id ID, now time.Time) *Query {
	t.Helper()
	m, ok := Parse(AppendQuery(nil, Query{Nonce: nonce(i)}, id, now))
	if !ok || m.Query == nil {
		t.Fatalf("our own query was not read: %+v", m)
	}
	return m.Query
}

func TestQuery(t *testing.T) {
	for _, unicast := range []bool{false, true} {
		b := AppendQuery(nil, Query{Nonce: nonce(1), Unicast: unicast}, bob, start)
		m, ok := Parse(b)
		if !ok || m.Query == nil || m.Query.Nonce != nonce(1) || m.Query.Unicast != unicast {
			t.Fatalf("got %+v, %v; want the query made, unicast %v", m.Query, ok, unicast)
		}
		if !m.Query.For(bob, start) {
			t.Error("bob does not recognise a query for bob")
		}
		if m.Query.For(alice, start) {
			t.Error("alice takes a query for bob for hers")
		}
	}
}

// A query that somebody has recorded must not tell where the peer is later.
func TestQueryGrowsOld(t *testing.T) {
	q := query(t, 1, bob, start)
	for _, age := range []time.Duration{-tagPeriod, 0, time.Minute, tagPeriod} { // clocks differ, in both directions
		if !q.For(bob, start.Add(age)) {
			t.Errorf("after %v the query is not recognised any more", age)
		}
	}
	for _, age := range []time.Duration{-2 * tagPeriod, 3 * tagPeriod, 24 * time.Hour} {
		if q.For(bob, start.Add(age)) {
			t.Errorf("after %v the query is still recognised, and so is its peer", age)
		}
	}
}

func TestAnswer(t *testing.T) {
	q := query(t, 2, bob, start)
	for n := 1; n <= len(addrs); n++ {
		b := AppendAnswer(nil, q, bob, 4567, addrs[:n])
		if len(b) > MaxMessage {
			t.Errorf("%d addresses make %d bytes, want at most %d", n, len(b), MaxMessage)
		}
		m, ok := Parse(b)
		if !ok || m.Answer == nil {
			t.Fatalf("our own answer with %d addresses was not read", n)
		}
		a := m.Answer
		if a.Nonce != q.Nonce || a.Port != 4567 || !slices.Equal(a.Addrs, addrs[:n]) {
			t.Errorf("got %+v, want port 4567 of %v", a, addrs[:n])
		}
		if !a.Authentic(bob) || a.Authentic(alice) {
			t.Errorf("authentic for bob: %v, for alice: %v; want true, false", a.Authentic(bob), a.Authentic(alice))
		}
		for i := range b { // whoever does not know bob cannot change what bob says
			c := bytes.Clone(b)
			c[i] ^= 1
			if m, ok := Parse(c); ok && m.Answer != nil && m.Answer.Nonce == q.Nonce && m.Answer.Authentic(bob) &&
				(m.Answer.Port != 4567 || !slices.Equal(m.Answer.Addrs, addrs[:n])) {
				t.Errorf("with bit 0 of byte %d changed the answer says %v port %d", i, m.Answer.Addrs, m.Answer.Port)
			}
		}
	}
}

// The example of docs/PROTOCOL.md §14.
func TestExample(t *testing.T) {
	doc, err := os.ReadFile("../../docs/PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	var id ID
	var n Nonce
	for i := range id {
		id[i] = byte(i)
	}
	copy(n[:], id[:])
	tag := queryTag(id, n, period(start))
	answer := answerTag(id, n, 4567, []netip.Addr{netip.MustParseAddr("192.0.2.7")})
	for _, want := range []string{
		fmt.Sprintf("period %d", period(start)),
		encoding.EncodeToString(append(n[:], tag[:]...)) + "." + strings.TrimSuffix(Service, "."),
		encoding.EncodeToString(answer[:]) + ".local",
	} {
		if !bytes.Contains(doc, []byte(want)) {
			t.Errorf("docs/PROTOCOL.md does not have %q", want)
		}
	}
}

// Nothing that is sent has anything in common with another query for the same peer but what all queries have.
func TestNothingInCommon(t *testing.T) {
	const inLabels = "abcdefghijklmnopqrstuvwxyz234567"
	type place struct {
		query int
		what  string
	}
	seen := make(map[string]place)
	for i := range 200 {
		q := query(t, i, bob, start)
		for what, b := range map[string][]byte{
			"query":  AppendQuery(nil, *q, bob, start),
			"answer": AppendAnswer(nil, q, bob, 4567, addrs[:1]),
		} {
			if bytes.Contains(b, bob[:4]) || bytes.Contains(b, []byte(encoding.EncodeToString(bob[:])[:6])) {
				t.Errorf("%s %d contains the ID", what, i)
			}
			b = bytes.ReplaceAll(b, []byte("_runnel"), []byte("_"))
			for k := range len(b) - 6 { // the nonces are the same in every run
				part := string(b[k : k+6])
				if strings.Trim(part, inLabels) != "" {
					continue
				}
				if other, ok := seen[part]; ok && other.query != i {
					t.Fatalf("%s %d and %s %d both have %q", what, i, other.what, other.query, part)
				}
				seen[part] = place{i, what}
			}
		}
	}
	if len(seen) < 200*60 {
		t.Errorf("only %d parts of labels were compared", len(seen))
	}
}

func TestParseRefuses(t *testing.T) {
	good := AppendQuery(nil, Query{Nonce: nonce(1)}, bob, start)
	name := func(s string) dnsmessage.Name { return dnsmessage.MustNewName(s) }
	ask := func(questions ...dnsmessage.Question) []byte {
		b, err := (&dnsmessage.Message{Questions: questions}).Pack()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	ours := dnsmessage.Question{
		Name: name(strings.Repeat("a", 52) + "." + Service), Type: dnsmessage.TypeSRV, Class: dnsmessage.ClassINET,
	}
	if _, ok := Parse(ask(ours)); !ok {
		t.Fatal("a well-formed query was not read, so the rest of this test says nothing")
	}
	with := func(f func(*dnsmessage.Question)) []byte {
		q := ours
		f(&q)
		return ask(q)
	}
	tests := map[string][]byte{
		"nothing":        nil,
		"cut":            good[:len(good)-1],
		"too long":       append(bytes.Clone(good), make([]byte, MaxMessage)...),
		"no question":    ask(),
		"two questions":  ask(ours, ours),
		"other type":     with(func(q *dnsmessage.Question) { q.Type = dnsmessage.TypePTR }),
		"other class":    with(func(q *dnsmessage.Question) { q.Class = dnsmessage.ClassCHAOS }),
		"other service":  with(func(q *dnsmessage.Question) { q.Name = name(strings.Repeat("a", 52) + "._other._udp.local.") }),
		"browsing":       with(func(q *dnsmessage.Question) { q.Name = name(Service) }),
		"short label":    with(func(q *dnsmessage.Question) { q.Name = name(strings.Repeat("a", 51) + "." + Service) }),
		"long label":     with(func(q *dnsmessage.Question) { q.Name = name(strings.Repeat("a", 53) + "." + Service) }),
		"no base32":      with(func(q *dnsmessage.Question) { q.Name = name(strings.Repeat("1", 52) + "." + Service) }),
		"subdomain":      with(func(q *dnsmessage.Question) { q.Name = name("x." + strings.Repeat("a", 50) + "." + Service) }),
		"upper case":     with(func(q *dnsmessage.Question) { q.Name = name(strings.Repeat("A", 52) + "." + Service) }),
		"opcode":         func() []byte { b := bytes.Clone(good); b[2] |= 0x28; return b }(),
		"response":       func() []byte { b := bytes.Clone(good); b[2] |= 0x80; return b }(),
		"truncated":      func() []byte { b := bytes.Clone(good); b[2] |= 0x02; return b }(),
		"answer, cut":    func() []byte { b := AppendAnswer(nil, query(t, 1, bob, start), bob, 1, addrs); return b[:len(b)-1] }(),
		"answer, port 0": AppendAnswer(nil, query(t, 1, bob, start), bob, 0, addrs),
		"answer, empty":  AppendAnswer(nil, query(t, 1, bob, start), bob, 1, nil),
	}
	for what, b := range tests {
		if m, ok := Parse(b); ok {
			t.Errorf("%s: was read as %+v %+v", what, m.Query, m.Answer)
		}
	}
}

func FuzzParse(f *testing.F) {
	q := Query{Nonce: nonce(1), Unicast: true}
	f.Add(AppendQuery(nil, q, bob, start))
	f.Add(AppendAnswer(nil, &q, bob, 4567, addrs))
	f.Add(AppendAnswer(nil, &q, bob, 4567, addrs[:1]))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, ok := Parse(b)
		switch {
		case !ok:
		case (m.Query == nil) == (m.Answer == nil):
			t.Error("a message is neither or both of query and answer")
		case m.Query != nil:
			m.Query.For(bob, start)
		default:
			if n := len(m.Answer.Addrs); n == 0 || n > MaxAddrs || m.Answer.Port == 0 {
				t.Errorf("an answer with %d addresses and port %d was read", n, m.Answer.Port)
			}
			if m.Answer.Authentic(bob) && m.Answer.Nonce == q.Nonce && m.Answer.Port != 4567 {
				t.Error("an answer with another port is authentic")
			}
		}
	})
}
