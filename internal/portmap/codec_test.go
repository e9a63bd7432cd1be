// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package portmap

import (
	"bytes"
	"net/netip"
	"testing"
	"time"
)

// The bytes of RFC 6887 figures 2 and 9, and of RFC 6886 §3.3.
func TestRequests(t *testing.T) {
	r := mapRequest{
		client: hostAddr, port: 0x1234, nonce: [12]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12},
		external: netip.MustParseAddrPort("0.0.0.0:22136"), lifetime: 1200,
	}
	pcp := "\x02\x01\x00\x00\x00\x00\x04\xb0" + "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xc0\xa8\x01\x32" +
		"\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c" + "\x11\x00\x00\x00\x12\x34\x56\x78" +
		"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\x00\x00\x00\x00"
	if got := r.appendPCP(nil); string(got) != pcp {
		t.Errorf("PCP:\ngot  % x\nwant % x", got, pcp)
	}
	pmp := "\x00\x01\x00\x00\x12\x34\x56\x78\x00\x00\x04\xb0"
	if got := r.appendPMP(nil); string(got) != pmp {
		t.Errorf("NAT-PMP:\ngot  % x\nwant % x", got, pmp)
	}
}

func TestEpochs(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	tests := []struct {
		name     string
		old, new uint32
		elapsed  time.Duration
		pcp, pmp bool // lost
	}{
		{"on time", 1000, 1600, 600 * time.Second, false, false},
		{"restarted", 1000, 5, 600 * time.Second, true, true},
		{"restarted long ago", 1000, 1500, 600 * time.Second, true, true},
		{"slow by a sixteenth", 1000, 1000 + 600 - 37, 600 * time.Second, false, false},
		{"slow by an eighth", 1000, 1000 + 525, 600 * time.Second, true, false},
		{"slow by more", 1000, 1000 + 520, 600 * time.Second, true, true},
		{"fast by a sixteenth", 1000, 1000 + 640, 600 * time.Second, false, false},
		{"fast by more", 1000, 1000 + 700, 600 * time.Second, true, false},
		{"reordered", 1000, 999, 0, false, false},
		{"second wrapped", 1<<32 - 1, 0, time.Second, true, true},
	}
	for _, test := range tests {
		for name, f := range map[string]func(e *epoch, now time.Time, v uint32) bool{"PCP": (*epoch).pcp, "NAT-PMP": (*epoch).pmp} {
			var e epoch
			if f(&e, start, test.old) {
				t.Errorf("%s: %s: the first value means a restart, want not", test.name, name)
			}
			want := test.pcp
			if name == "NAT-PMP" {
				want = test.pmp
			}
			if got := f(&e, start.Add(test.elapsed), test.new); got != want {
				t.Errorf("%s: %s: restarted is %v, want %v", test.name, name, got, want)
			}
		}
	}
}

func TestPublic(t *testing.T) {
	for text, want := range map[string]bool{
		"5.0.1.2": true, "1.1.1.1": true, "2a00:5::1": true,
		"10.0.0.1": false, "172.31.0.1": false, "192.168.0.1": false, "100.127.255.255": false, "100.128.0.0": true,
		"0.0.0.0": false, "127.0.0.1": false, "169.254.1.1": false, "224.0.0.1": false, "255.255.255.255": false,
		"192.0.0.4": false, "fd00::1": false, "fe80::1": false, "::": false, "::1": false, "198.18.0.1": false,
	} {
		if got := public(netip.MustParseAddr(text)); got != want {
			t.Errorf("public(%s) is %v, want %v", text, got, want)
		}
	}
}

// Whatever comes, an inquiry does not panic, and believes nothing that does not carry the nonce.
func FuzzInquiry(f *testing.F) {
	req := mapRequest{
		client: hostAddr, port: 4000, nonce: [12]byte{1, 2, 3}, external: netip.MustParseAddrPort("0.0.0.0:4000"),
		lifetime: 1200,
	}
	ok := req.appendPCP(nil)
	ok[1] |= 0x80
	copy(ok[44:], netip.MustParseAddr("::ffff:5.0.1.2").AsSlice())
	f.Add(ok, uint16(pcpPort))
	f.Add([]byte{0, 128, 0, 0, 0, 0, 0, 9, 5, 0, 1, 2}, uint16(pcpPort))
	f.Add([]byte{0, 129, 0, 0, 0, 0, 0, 9, 0x0f, 0xa0, 0x0f, 0xa0, 0, 0, 4, 0xb0}, uint16(pcpPort))
	f.Add([]byte("HTTP/1.1 200 OK\r\nLOCATION: http://192.168.1.1:5000/d\r\n\r\n"), uint16(1900))
	f.Fuzz(func(t *testing.T, b []byte, port uint16) {
		now := time.Unix(1000, 0)
		q := newInquiry(now, routerAddr, req, &epoch{}, PCP, NATPMP, UPnP)
		for range 20 {
			q.Poll(now)
			q.HandlePacket(now, b, netip.AddrPortFrom(routerAddr, port))
			p, done, err := q.outcome(now)
			if done {
				if err != nil && p != 0 {
					t.Fatalf("both %v and %v", p, err)
				}
				if p == PCP && !bytes.Contains(b, req.nonce[:]) {
					t.Fatal("PCP without the nonce is believed")
				}
				if (p == PCP || p == NATPMP) && (q.response.lifetime == 0 || q.response.external.Port() == 0) {
					t.Fatalf("granted %+v", q.response)
				}
				if p == UPnP && !onDevice(q.location, routerAddr) {
					t.Fatalf("sent to %v", q.location)
				}
				return
			}
			next := q.NextTimeout()
			if !next.After(now) {
				t.Fatalf("nothing to do at %v, and asked to be called at %v", now, next)
			}
			now = next
		}
		t.Fatal("an inquiry without an end")
	})
}

// A device description names what it likes.
func FuzzDescription(f *testing.F) {
	f.Add([]byte(`<root xmlns="urn:schemas-upnp-org:device-1-0"><URLBase>http://192.168.1.1/</URLBase><device><serviceList><service>` +
		`<serviceType>urn:schemas-upnp-org:service:WANIPConnection:1</serviceType><controlURL>/ctl</controlURL>` +
		`</service></serviceList></device></root>`))
	location, err := parseSearch([]byte("HTTP/1.1 200 OK\r\nLOCATION: http://192.168.1.1:5000/d\r\n\r\n"), routerAddr)
	if err != nil {
		f.Fatal(err)
	}
	client := newClient(routerAddr, nil)
	f.Fuzz(func(t *testing.T, b []byte) {
		root, err := parseDescription(bytes.NewReader(b), location)
		if err != nil {
			return
		}
		if n := len(connections(root, client)); n > maxServices {
			t.Fatalf("%d connections, want at most %d", n, maxServices)
		}
	})
}
