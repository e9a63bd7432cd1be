// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package dtlsx

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/dtls/v2"
)

// victim runs a handshake with the library as config() sets it up, except for what weaken changes.
func victim(ctx context.Context, c Config, weaken func(*dtls.Config)) (*Handshake, <-chan error) {
	h := &Handshake{cfg: c, cancel: func(error) {}, done: make(chan struct{}), ended: make(chan struct{})}
	h.pipe = newPipe(c.Client, c.flightInterval(), c.Write)
	cfg := h.config()
	if weaken != nil {
		weaken(cfg)
	}
	result := make(chan error, 1)
	go func() {
		conn, err := connect(ctx, h.pipe, c.Client, cfg)
		if err == nil {
			err = conn.Close()
		} else {
			_ = h.pipe.Close()
		}
		result <- err
	}()
	return h, result
}

// TestImpersonation mounts the full attack on authentication: somebody who knows nothing but the public certificate of
// a peer completes a handshake in its name. The first half proves that the attack works against the library's default
// signature schemes, everything else being equal, and so that the second half tests something; or, with a library that
// has lost the defect, that it has.
func TestImpersonation(t *testing.T) {
	ids := identities()
	for _, side := range []string{"server", "client"} {
		t.Run("as "+side, func(t *testing.T) {
			asClient := side == "client"
			mount := func(t *testing.T, weaken func(*dtls.Config)) error {
				t.Helper()
				var result error
				bubble(t, func(t *testing.T) {
					ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
					defer cancel()
					a := newAttacker(asClient, ids[1].cert.Certificate[0])
					c := Config{
						Identity: ids[0], Client: !asClient, RemoteFingerprint: ids[1].Fingerprint(),
						Write: func(b []byte) { a.in <- bytes.Clone(b) },
					}
					h, done := victim(ctx, c, weaken)
					a.out = h.Deliver
					attack := make(chan error, 1)
					go func() {
						if asClient {
							attack <- a.impersonateClient(ctx)
						} else {
							attack <- a.impersonateServer(ctx)
						}
					}()
					result = <-done
					t.Logf("attacker: %v; victim: %v", <-attack, result)
				})
				return result
			}
			defaults := func(c *dtls.Config) { c.SignatureSchemes = nil }
			if err := mount(t, defaults); digestlessDefect && err != nil {
				t.Fatalf("the attack fails even with the library's defaults: %v; this test proves nothing", err)
			} else if !digestlessDefect && err == nil {
				t.Fatal("the attack works with the library's defaults: the defect is still there")
			}
			if err := mount(t, nil); err == nil {
				t.Fatal("an attacker without any private key was accepted")
			}

			// And once more through the front door.
			bubble(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				defer cancel()
				a := newAttacker(asClient, ids[1].cert.Certificate[0])
				ready := make(chan struct{})
				h := Start(ctx, &Config{
					Identity: ids[0], Client: !asClient, RemoteFingerprint: ids[1].Fingerprint(),
					Write: func(b []byte) { <-ready; a.in <- bytes.Clone(b) },
				})
				defer h.Close()
				a.out = h.Deliver
				close(ready)
				go func() {
					if asClient {
						_ = a.impersonateClient(ctx)
					} else {
						_ = a.impersonateServer(ctx)
					}
				}()
				<-h.Done()
				if h.Err() == nil {
					t.Error("Handshake accepted the attacker")
				}
				if h.RemoteFingerprint() != [32]byte{} || h.Exporter() != [32]byte{} {
					t.Error("a fingerprint or a secret is reported although nothing was proven")
				}
			})
		})
	}
}

// TestNoClientCertificate is a client that shows no certificate although it is asked for one.
func TestNoClientCertificate(t *testing.T) {
	bubble(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		a := newAttacker(true, nil)
		h := Start(ctx, &Config{
			Identity: identities()[0], AnyFingerprint: true,
			Write: func(b []byte) { a.in <- bytes.Clone(b) },
		})
		defer h.Close()
		a.out = h.Deliver
		if err := a.impersonateClient(ctx); err != nil {
			t.Fatalf("attacker: %v", err)
		}
		<-h.Done()
		if h.Err() == nil {
			t.Error("a client without a certificate was accepted")
		}
	})
}

// TestWeakOffers are servers' answers to clients that offer less than the rules demand.
func TestWeakOffers(t *testing.T) {
	ids := identities()
	tests := map[string]func(*dtls.Config){
		"no extended master secret": func(c *dtls.Config) { c.ExtendedMasterSecret = dtls.DisableExtendedMasterSecret },
		"another cipher suite": func(c *dtls.Config) {
			c.CipherSuites = []dtls.CipherSuiteID{dtls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA}
		},
	}
	for name, weaken := range tests {
		for _, weakClient := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					defer cancel()
					toStrict, toWeak := &link{}, &link{}
					weak, done := victim(ctx, Config{
						Identity: ids[1], Client: weakClient, AnyFingerprint: true,
						Write: toStrict.write,
					}, weaken)
					toWeak.connect(weak)
					strict := Start(ctx, &Config{
						Identity: ids[0], Client: !weakClient, AnyFingerprint: true,
						Write: toWeak.write,
					})
					toStrict.connect(strict)
					defer strict.Close()
					<-strict.Done()
					if err := strict.Err(); err == nil {
						t.Errorf("weak client %v: accepted", weakClient)
					}
					<-done
				})
			})
		}
	}
}

// plain makes a plaintext record, as anybody can who knows where to send it.
func plain(typ byte, seq uint64, body ...byte) []byte {
	return append([]byte{
		typ, 0xFE, 0xFD, 0, 0, byte(seq >> 40), byte(seq >> 32), byte(seq >> 24), byte(seq >> 16),
		byte(seq >> 8), byte(seq), byte(len(body) >> 8), byte(len(body)),
	}, body...)
}

// spoofed are datagrams that would kill or stall the library's connection if they reached it.
func spoofed() map[string][]byte {
	finished := append([]byte{20, 0, 0, 12, 0, 7, 0, 0, 0, 0, 0, 12}, make([]byte, 12)...)
	encrypted := plain(typeAlert, 9, make([]byte, 26)...)
	encrypted[4] = 1
	return map[string][]byte{
		"fatal alert":                plain(typeAlert, 1<<40, 2, 40),
		"close_notify":               plain(typeAlert, 1<<40+1, 1, 0),
		"encrypted alert":            encrypted,
		"application data":           plain(23, 1<<40+2, 'h', 'i'),
		"unknown type":               plain(99, 1<<40+3, 1),
		"hello verify request":       plain(typeHandshake, 1<<40+4, 3, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 3, 0xFE, 0xFD, 0),
		"hello request":              plain(typeHandshake, 1<<40+5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
		"plaintext Finished":         plain(typeHandshake, 1<<40+6, finished...),
		"broken handshake header":    plain(typeHandshake, 1<<40+7, 1, 0xFF, 0xFF),
		"huge fragment":              plain(typeHandshake, 1<<40+8, 11, 0xFF, 0xFF, 0xFF, 0, 9, 0, 0, 0, 0, 0, 0),
		"empty record":               plain(typeHandshake, 1<<40+9),
		"bad change cipher spec":     plain(typeChangeCipherSpec, 1<<40+10, 2),
		"wrong version":              {22, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1},
		"alert behind a valid start": append(plain(99, 0, 1), plain(typeAlert, 1<<40+11, 2, 40)...),
		"too long":                   make([]byte, maxDatagram+1),
		"nothing":                    {},
	}
}

// TestSpoofedDuringHandshake throws everything at both sides, before every datagram of the handshake. It must neither
// end it nor cost any time.
func TestSpoofedDuringHandshake(t *testing.T) {
	for name, bad := range spoofed() {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				flood := func(b []byte) [][]byte {
					out := [][]byte{bad, bad, b, bad}
					return append(out, append(bytes.Clone(b), bad...)) // and as a passenger
				}
				begin := time.Now()
				p := start(t, &link{delay: time.Millisecond, route: flood}, &link{delay: time.Millisecond, route: flood})
				p.wantSuccess(t)
				if d := time.Since(begin); d != 4*time.Millisecond {
					t.Errorf("handshake took %v, want 4ms", d)
				}
				if len(bad) > 0 && p.client.Dropped() == 0 {
					t.Error("Dropped is 0: drops are to be counted")
				}
			})
		})
	}
}

// TestSpoofedAfterHandshake is for the defects by which a plaintext alert or application data kills an established
// connection, and handshake records stall its reader. There is no connection any more that could die.
func TestSpoofedAfterHandshake(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var flights [][]byte
		keep := func(b []byte) [][]byte { flights = append(flights, b); return [][]byte{b} }
		p := start(t, &link{delay: time.Millisecond, route: keep}, &link{delay: time.Millisecond})
		p.wantSuccess(t)
		synctest.Wait()
		up, down := p.up.count(), p.down.count()
		secret := p.client.Exporter()
		for _, bad := range spoofed() {
			p.client.Deliver(bad)
			p.server.Deliver(bad)
		}
		for i := range 2000 {
			hello := plain(typeHandshake, uint64(1000+i), append([]byte{1, 0, 0, 0, byte(i >> 8), byte(i)}, make([]byte, 6)...)...)
			p.client.Deliver(hello)
			p.server.Deliver(hello)
		}
		synctest.Wait()
		if got := p.up.count() - up; got != 0 {
			t.Errorf("client sent %d datagrams in answer, want none", got)
		}
		if got := p.down.count() - down; got > 1 {
			t.Errorf("server sent %d datagrams in answer, want at most one repetition of its last flight", got)
		}
		if p.client.Err() != nil || p.server.Err() != nil || p.client.Exporter() != secret {
			t.Error("the result of a handshake changed afterwards")
		}
		if n := len(p.client.pipe.in) + len(p.server.pipe.in) + len(p.client.pipe.held) + len(p.server.pipe.held); n != 0 {
			t.Errorf("%d datagrams are kept, want none", n)
		}
	})
}

// TestFloodIsBounded sends more handshake records than any handshake has.
func TestFloodIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		h := Start(ctx, &Config{Identity: identities()[0], AnyFingerprint: true, Write: func([]byte) {}})
		defer h.Close()
		body := append([]byte{certificate, 0, 0x10, 0, 0, 5, 0, 0, 0, 0, 2, 0}, make([]byte, 512)...)
		for i := range 5000 {
			h.Deliver(plain(typeHandshake, uint64(i), body...))
			if i%50 == 0 {
				synctest.Wait()
			}
		}
		if got := h.Dropped(); got < 5000-maxRecords {
			t.Errorf("dropped %d of 5000 records, want all but %d", got, maxRecords)
		}
		<-h.Done()
		if err := h.Err(); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v, want the deadline", err)
		}
	})
}
