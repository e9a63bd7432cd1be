// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
)

// The examples of docs/PROTOCOL.md §13, in the order in which they stand there, and what they say.
var examples = []struct{ name, says string }{
	{"header-pn2", "session 0123456789abcdef phase 0 number 0x7 of 2"},
	{"header-phase", "session 0123456789abcdef phase 1 number 0x1234 of 2"},
	{"header-pn3", "session 0123456789abcdef phase 0 number 0xabcdef of 3"},
	{"header-pn4", "session 0123456789abcdef phase 0 number 0xabcdef of 4"},
	{"handshake", "session 0123456789abcdef dtls 16fefd padding 2"},
	{"ping", "PING"},
	{"ack-one", "ACK delay 0µs 5-5"},
	{"ack-ranges", "ACK delay 64000µs 97-100 94-94 78-83"},
	{"ack-ecn", "ACK_ECN ect0 70 ect1 1 ce 20000 delay 0µs 5-5 0-1"},
	{"yield", "YIELD"},
	{"addresses", "ADDRESSES 7: 0 10.0.0.1:4000, 1 192.0.2.1:5000, 2 [2001:db8::1]:6000"},
	{"addresses-none", "ADDRESSES 300:"},
	{"punch", "PUNCH phase 3 attempt 2 round 1 mapping 2 ports 2 stride -2 from 1024 to 65535 count 4 at 192.0.2.1:4660"},
	{"punch-v6", "PUNCH phase 1 attempt 1 round 0 mapping 1 ports 0 stride 0 from 0 to 0 count 0 at [2001:db8::1]:1"},
	{"identity-size", "IDENTITY of 96"},
	{"path-challenge", "PATH_CHALLENGE 0102030405060708"},
	{"path-response", "PATH_RESPONSE 0102030405060708"},
	{"close", `CLOSE abrupt false code 0x7 "bye!"`},
	{"close-abrupt", `CLOSE abrupt true code 0x4001 ""`},
	{"close-ack", "CLOSE_ACK"},
	{"data-whole", `FLOW_DATA flow 5 message 0 at 0 "hello" end true more false`},
	{"data-begin", `FLOW_DATA flow 5 message 1 at 0 "abc" end false more false`},
	{"data-end", `FLOW_DATA flow 5 message 1 at 3 "def" end true more false`},
	{"data-empty", `FLOW_DATA flow 5 message 2 at 0 "" end true more false`},
	{"open", `FLOW_OPEN flow 5 "chat" metadata 0102`},
	{"open-answer", `FLOW_OPEN flow 5 "chat" metadata  answers 101`},
	{"open-stream", `FLOW_OPEN flow 5 "chat" metadata  answers 5 stream`},
	{"flow-end", "FLOW_END 5 3 203"},
	{"flow-abort", "FLOW_ABORT 5 7 203"},
	{"flow-skip", "FLOW_SKIP flow 5 #2 used 164 #3 used 0"},
	{"data-part", `FLOW_DATA flow 5 message 3 at 0 "xyz" end true more true`},
	{"open-hints", `FLOW_OPEN flow 5 "chat" metadata  arrival priority 1`},
	{"flow-blocked", "FLOW_BLOCKED 5 65536"},
	{"session-blocked", "SESSION_BLOCKED 1048576"},
	{"flow-reject", "FLOW_REJECT 5 42"},
	{"flow-window", "FLOW_WINDOW 5 131072"},
	{"session-limits", "SESSION_LIMITS 33554432 10000 16777216"},
}

// TestExamples reads every example of docs/PROTOCOL.md twice: with this package, and with a decoder written from that page
// alone. Both must find what the example is meant to say, no example may be missing here, and no chunk there.
func TestExamples(t *testing.T) {
	file, err := os.ReadFile("../../docs/PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(file), "```golden\n")
	text, _, _ = strings.Cut(text, "```")
	var names []string
	for line := range strings.Lines(text) {
		if name, _, ok := strings.Cut(line, "="); ok && !strings.HasPrefix(line, "#") {
			names = append(names, strings.TrimSpace(name))
		}
	}
	var want []string
	shown := make(map[ChunkType]bool)
	for _, e := range examples {
		want = append(want, e.name)
		b := golden(t, e.name)
		if b[0] < FirstProtected {
			shown[ChunkType(b[0])] = true
		}
		if got := pageSays(b); got != e.says {
			t.Errorf("%s: by the page %x says\n%s, want\n%s", e.name, b, got, e.says)
		}
		if got := packageSays(t, b); got != e.says {
			t.Errorf("%s: by the package %x says\n%s, want\n%s", e.name, b, got, e.says)
		}
	}
	if !slices.Equal(names, want) {
		t.Errorf("the page has the examples\n%v, the test\n%v", names, want)
	}
	for typ := range ChunkElective {
		if named := !strings.HasPrefix(typ.String(), "chunk"); named && !shown[typ] && typ != ChunkPadding && !typ.IsFlowData() {
			t.Errorf("no example of %v (%#02x)", typ, uint8(typ))
		}
	}
}

// packageSays says what b is, as this package understands it.
func packageSays(t *testing.T, b []byte) string {
	t.Helper()
	switch {
	case b[0] == FirstHandshake:
		sid, dtls, err := ParseHandshake(b)
		if err != nil {
			t.Error(err)
		}
		return fmt.Sprintf("session %v dtls %x padding %d", sid, dtls, len(b)-HandshakeOverhead-len(dtls))
	case b[0] >= FirstProtected:
		h, err := ParseHeader(b)
		if err != nil {
			t.Error(err)
		}
		phase := map[bool]int{true: 1}[h.KeyPhase]
		return fmt.Sprintf("session %v phase %d number %#x of %d", h.SID, phase, h.PN, h.PNLen)
	case ChunkType(b[0]) == ChunkIdentity: // the rest is a matter of keys
		n, _ := ReadVarint(b[1:])
		return fmt.Sprintf("IDENTITY of %d", n)
	}
	typ, body, rest, err := NextChunk(b)
	if err != nil || len(rest) > 0 {
		t.Errorf("%x: %v, %d bytes left", b, err, len(rest))
	}
	say := typ.String()
	switch {
	case typ.IsAck():
		var a Ack
		err = a.Parse(typ, body)
		if a.HasECN {
			say += fmt.Sprintf(" ect0 %d ect1 %d ce %d", a.ECN.ECT0, a.ECN.ECT1, a.ECN.CE)
		}
		say += fmt.Sprintf(" delay %dµs", a.Delay.Microseconds())
		for _, r := range a.Ranges {
			say += fmt.Sprintf(" %d-%d", r.Start, r.End-1)
		}
	case typ == ChunkPathChallenge || typ == ChunkPathResponse:
		var data [PathDataLen]byte
		data, err = ParsePathData(body)
		say += fmt.Sprintf(" %x", data)
	case typ == ChunkPunch:
		var p Punch
		p, err = ParsePunch(body)
		say += fmt.Sprintf(" phase %d attempt %d round %d mapping %d ports %d stride %d from %d to %d count %d at %v",
			p.Phase, p.Attempt, p.Round, p.Mapping, p.Ports, p.Stride, p.Low, p.High, p.Count, p.Addr)
	case typ == ChunkClose:
		var c Close
		c, err = ParseClose(body)
		say += fmt.Sprintf(" abrupt %v code %#x %q", c.Abrupt, c.Code, c.Reason)
	case typ == ChunkAddresses:
		var seq uint64
		var list []Address
		seq, list, err = ParseAddresses(nil, body)
		var parts []string
		for _, a := range list {
			parts = append(parts, fmt.Sprintf("%d %v", a.Kind, a.Addr))
		}
		say = strings.TrimSpace(fmt.Sprintf("%s %d: %s", say, seq, strings.Join(parts, ", ")))
	case typ.IsFlowData():
		var d FlowData
		d, err = ParseFlowData(typ, body)
		say += fmt.Sprintf(" flow %d message %d at %d %q end %v more %v", d.Flow, d.Seq, d.Offset, d.Data, d.End, d.More)
	case typ == ChunkFlowOpen:
		var o FlowOpen
		o, err = ParseFlowOpen(body)
		say += fmt.Sprintf(" flow %d %q metadata %x", o.Flow, o.Label, o.Metadata)
		if o.HasAnswers {
			say += fmt.Sprintf(" answers %d", o.Answers)
		}
		if o.Stream {
			say += " stream"
		}
		if o.Arrival {
			say += " arrival"
		}
		if o.HasPriority {
			say += fmt.Sprintf(" priority %d", o.Priority)
		}
	case typ == ChunkFlowSkip:
		var s FlowSkip
		s, err = ParseFlowSkip(body)
		say += fmt.Sprintf(" flow %d", s.Flow)
		for seq, used, ok := s.Next(); ok; seq, used, ok = s.Next() {
			say += fmt.Sprintf(" #%d used %d", seq, used)
		}
	case len(body) > 0:
		v := make([]uint64, 3)
		p := []*uint64{&v[0], &v[1], &v[2]}
		for n := 1; n <= 3; n++ {
			if err = ParseInts(body, p[:n]...); err == nil {
				v = v[:n]
				break
			}
		}
		say += fmt.Sprintf(" %s", strings.Trim(fmt.Sprint(v), "[]"))
	}
	if err != nil {
		t.Errorf("%x: %v", b, err)
	}
	return say
}

// A page reads bytes as docs/PROTOCOL.md describes them. It uses nothing of this package.
type page []byte

func (p *page) take(n int) []byte {
	b := (*p)[:n]
	*p = (*p)[n:]
	return b
}

func (p *page) number(n int) (v uint64) {
	for _, c := range p.take(n) {
		v = v<<8 | uint64(c)
	}
	return v
}

// varint: RFC 9000 §16.
func (p *page) varint() uint64 {
	n := 1 << ((*p)[0] >> 6)
	return p.number(n) & (1<<(8*n-2) - 1)
}

// pageSays says what b is by the page: §2 and §3 for packets, §2, §5, §8 and §9 for chunks.
func pageSays(b []byte) string {
	p := page(b)
	switch first := p.number(1); {
	case first == 0xe0:
		session := hex.EncodeToString(p.take(8))
		dtls := p.take(int(p.number(2)))
		return fmt.Sprintf("session %s dtls %x padding %d", session, dtls, len(p))
	case first >= 0xc0:
		session, n := hex.EncodeToString(p.take(8)), int(first&3)+1
		return fmt.Sprintf("session %s phase %d number %#x of %d", session, first>>4&1, p.number(n), n)
	case first == 0x03:
		return fmt.Sprintf("IDENTITY of %d", p.varint())
	default:
		if n := p.varint(); int(n) != len(p) {
			return fmt.Sprintf("length %d before %d bytes", n, len(p))
		}
		return p.chunk(first)
	}
}

func (p *page) chunk(typ uint64) string {
	names := map[uint64]string{
		0x01: "PING", 0x02: "ACK", 0x04: "PATH_CHALLENGE", 0x05: "PATH_RESPONSE", 0x06: "CLOSE", 0x07: "CLOSE_ACK",
		0x08: "ACK_ECN", 0x09: "YIELD", 0x0a: "ADDRESSES", 0x0b: "PUNCH",
		0x18: "FLOW_OPEN", 0x19: "FLOW_END", 0x1a: "FLOW_ABORT", 0x1c: "FLOW_BLOCKED",
		0x1d: "SESSION_BLOCKED", 0x1e: "FLOW_SKIP", 0x20: "FLOW_REJECT", 0x21: "FLOW_WINDOW", 0x22: "SESSION_LIMITS",
	}
	say := names[typ]
	switch typ {
	case 0x02, 0x08:
		if typ == 0x08 {
			say += fmt.Sprintf(" ect0 %d ect1 %d ce %d", p.varint(), p.varint(), p.varint())
		}
		largest, delay, first := p.varint(), p.varint(), p.varint()
		low := largest - first
		say += fmt.Sprintf(" delay %dµs %d-%d", delay, low, largest)
		for len(*p) > 0 {
			missing, more := p.varint()+1, p.varint()
			high := low - missing - 1
			low = high - more
			say += fmt.Sprintf(" %d-%d", low, high)
		}
	case 0x04, 0x05:
		say += fmt.Sprintf(" %x", p.take(8))
	case 0x0b:
		say += fmt.Sprintf(" phase %d attempt %d round %d", p.number(1), p.varint(), p.varint())
		mapping, ports, stride := p.number(1), p.number(1), int64(p.varint())
		if stride%2 == 0 {
			stride /= 2
		} else {
			stride = -(stride + 1) / 2
		}
		say += fmt.Sprintf(" mapping %d ports %d stride %d from %d to %d count %d", mapping, ports, stride, p.number(2), p.number(2), p.varint())
		ip, _ := netip.AddrFromSlice(p.take(map[uint64]int{4: 4, 6: 16}[p.number(1)]))
		say += fmt.Sprintf(" at %v", netip.AddrPortFrom(ip, uint16(p.number(2))))
	case 0x06:
		abrupt := p.number(1)&1 == 1
		say += fmt.Sprintf(" abrupt %v code %#x %q", abrupt, p.varint(), *p)
	case 0x0a:
		say += fmt.Sprintf(" %d:", p.varint())
		for first := true; len(*p) > 0; first = false {
			if !first {
				say += ","
			}
			kind, family := p.number(1), p.number(1)
			if family == 4 {
				say += fmt.Sprintf(" %d %v:%d", kind, netip.AddrFrom4([4]byte(p.take(4))), p.number(2))
			} else {
				say += fmt.Sprintf(" %d [%v]:%d", kind, netip.AddrFrom16([16]byte(p.take(16))), p.number(2))
			}
		}
	case 0x10, 0x11, 0x12, 0x13, 0x15, 0x17:
		flow, message, offset := p.varint(), p.varint(), uint64(0)
		if typ&2 != 0 {
			offset = p.varint()
		}
		say = fmt.Sprintf("FLOW_DATA flow %d message %d at %d %q end %v more %v", flow, message, offset, *p, typ&1 != 0, typ&4 != 0)
	case 0x18:
		say += fmt.Sprintf(" flow %d %q metadata %x", p.varint(), p.take(int(p.varint())), p.take(int(p.varint())))
		for len(*p) > 0 {
			option, value := p.varint(), page(p.take(int(p.varint())))
			switch option {
			case 0x00:
				say += fmt.Sprintf(" answers %d", value.varint())
			case 0x01:
				say += " stream"
			case 0x20:
				say += " arrival"
			case 0x21:
				say += fmt.Sprintf(" priority %d", value.number(1))
			}
		}
	case 0x1e:
		flow, message := p.varint(), p.varint()
		say += fmt.Sprintf(" flow %d", flow)
		for ; len(*p) > 0; message++ {
			say += fmt.Sprintf(" #%d used %d", message, p.varint())
		}
	default:
		for len(*p) > 0 {
			say += fmt.Sprintf(" %d", p.varint())
		}
	}
	return say
}
