// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package dtlsx

import (
	"testing"
)

// BenchmarkHandshake measures both sides of one handshake together, in memory.
func BenchmarkHandshake(b *testing.B) {
	ids := identities()
	b.ReportAllocs()
	for b.Loop() {
		var client, server *Handshake
		ready := make(chan struct{})
		server = Start(b.Context(), &Config{
			Identity: ids[1], RemoteFingerprint: ids[0].Fingerprint(),
			Write: func(d []byte) { <-ready; client.Deliver(d) },
		})
		client = Start(b.Context(), &Config{
			Identity: ids[0], Client: true, RemoteFingerprint: ids[1].Fingerprint(),
			Write: func(d []byte) { <-ready; server.Deliver(d) },
		})
		close(ready)
		<-client.Done()
		<-server.Done()
		if client.Err() != nil || server.Err() != nil {
			b.Fatal(client.Err(), server.Err())
		}
		client.Close()
		server.Close()
	}
}

func BenchmarkNewIdentity(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := NewIdentity(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDeliver measures what a spoofed datagram costs after the handshake.
func BenchmarkDeliver(b *testing.B) {
	p := newPipe(true, 0, nil)
	p.complete()
	alert := plain(typeAlert, 1, 2, 40)
	b.ReportAllocs()
	for b.Loop() {
		p.deliver(alert)
	}
}
