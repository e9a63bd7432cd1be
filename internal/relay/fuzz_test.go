// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/pionx/stunx"
)

// FuzzGate: whatever comes in, with and without an allocation, signed or not, the gate neither panics nor lets bytes
// through that it has not understood.
func FuzzGate(f *testing.F) {
	w := newWire()
	pc, err := w.listen(relayUDP)
	ok(f, err)
	s, err := New(&Config{PacketConns: []net.PacketConn{pc}, RelayIP: relayIP, Secrets: []string{secret}, AllowHost: true, AnswerRate: -1})
	ok(f, err)
	g := newGate(s, pc, "udp", nil)
	user, pass := Credential(secret, "alice", time.Now().Add(1000*time.Hour))
	key := stunx.LongTermKey(user, "runnel", pass)
	client := netip.MustParseAddrPort("8.0.0.1:1")
	sign := func(m stunx.Method, attr stunx.Attr, v []byte) []byte {
		return stunx.NewBuilder(nil, m, stunx.Request, [12]byte{1}).Add(attr, v).Add(stunx.UsernameAttr, []byte(user)).
			Add(stunx.Realm, []byte("runnel")).AddIntegrity(key).AddFingerprint().Bytes()
	}
	f.Add(sign(stunx.Allocate, stunx.RequestedTransport, []byte{17, 0, 0, 0}), true)
	f.Add(sign(stunx.Allocate, stunx.EvenPort, []byte{0}), false)
	f.Add(sign(stunx.CreatePermission, stunx.XORPeerAddress, []byte{0, 1, 1, 1, 1, 1, 1, 1}), true)
	f.Add(sign(stunx.ChannelBind, stunx.ChannelNumber, []byte{0x40, 0, 0, 0}), true)
	f.Add([]byte{0x40, 0, 0, 1, 'x'}, true)
	f.Fuzz(func(t *testing.T, b []byte, allocated bool) {
		if len(b) > 1500 {
			return
		}
		a := &allocation{
			g: g, client: client, who: "alice", perms: make(map[netip.Addr]*grant),
			chans: map[uint16]time.Time{0x4000: {}},
		}
		if !allocated {
			a = nil
		}
		size := len(b)
		n, pass := g.admit(b, client, a)
		switch {
		case !pass && n != 0, n > size:
			t.Fatalf("%d bytes of %d, %v", n, size, pass)
		case pass && b[0]>>6 == 1:
			if a == nil || int(binary.BigEndian.Uint16(b[2:])) > n-4 {
				t.Fatalf("channel data % x passed", b)
			}
		case pass && !stunx.Sane(b[:n]):
			t.Fatalf("what passed is not sane: % x", b[:n])
		}
		if g.cur.commit != nil && a != nil {
			g.cur.commit()
		}
	})
}

func ExampleCredential() {
	user, pass := Credential("north-of-the-wall", "alice", time.Unix(1_700_000_000, 0))
	fmt.Println(user, pass)
	// Output: 1700000000:alice DUc97LAZ4+61uBE+vszNmAGi1XA=
}
