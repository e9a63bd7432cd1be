// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package dtlsx

import (
	"testing"
)

// FuzzFilter gives arbitrary datagrams to a pipe and looks at what the library would get to see.
func FuzzFilter(f *testing.F) {
	for _, b := range spoofed() {
		f.Add(b, true, true)
		f.Add(b, false, false)
	}
	f.Add(plain(typeHandshake, 1, append([]byte{clientHello, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 4}, 1, 2, 3, 4)...), false, false)
	f.Add(append(plain(typeChangeCipherSpec, 1, 1), plain(typeHandshake, 2, 1)...), true, true)
	f.Fuzz(func(t *testing.T, b []byte, client, keys bool) {
		p := newPipe(client, 0, nil)
		if keys {
			p.keysExpected()
		}
		p.deliver(b)
		p.deliver(b)
		encrypted := false
		for len(p.in) > 0 {
			d := <-p.in
			if len(d) == 0 {
				t.Fatal("empty datagram")
			}
			for len(d) > 0 {
				r, rest, ok := nextRecord(d)
				if !ok {
					t.Fatalf("passed on %x, which is not made of records", d)
				}
				d = rest
				switch {
				case r.contentType() == typeChangeCipherSpec && keys && !encrypted:
					encrypted = true
				case r.contentType() == typeHandshake && r.epoch() == 0 && isHandshakeFrom(!client, r.body()):
				case r.contentType() == typeHandshake && r.epoch() == 1 && encrypted:
				default:
					t.Fatalf("passed on a record of type %d, epoch %d (keys %v)", r.contentType(), r.epoch(), keys)
				}
			}
		}
		if len(p.held) > maxHeld || p.records > maxRecords {
			t.Fatalf("%d records held, %d passed on", len(p.held), p.records)
		}
	})
}
