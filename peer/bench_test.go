// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/signaling"
)

// loopbackPair returns the ends of a session between two endpoints on real sockets.
func loopbackPair(b testing.TB) (near, far *peer.Session) {
	b.Helper()
	var hub signaling.Hub
	listen := func() *peer.Endpoint {
		key, err := signaling.GenerateKey()
		if err != nil {
			b.Fatal(err)
		}
		e, err := peer.Listen(b.Context(), &peer.Config{
			Key: key, Signaler: hub.Join(signaling.IDFromKey(key)), Loopback: true,
			ListenAddr: netip.MustParseAddrPort("127.0.0.1:0"),
		})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			defer cancel()
			_ = e.Close(ctx)
		})
		return e
	}
	dialler, listener := listen(), listen()
	near, err := dialler.Dial(b.Context(), listener.ID())
	if err != nil {
		b.Fatal(err)
	}
	far, err = listener.Accept(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	return near, far
}

// BenchmarkFlow sends messages on one flow between two endpoints of this process over loopback. Compare it with
// BenchmarkRaw of the same run.
func BenchmarkFlow(b *testing.B) {
	for _, size := range []int{64, 1 << 10, 64 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			near, far := loopbackPair(b)
			out, err := near.OpenFlow("bench", nil)
			if err != nil {
				b.Fatal(err)
			}
			out.Announce()
			in, err := far.AcceptFlow(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			got := make(chan error, 1)
			want := make(chan int, 1)
			go func() {
				n, total := 0, -1
				for n != total {
					select {
					case total = <-want:
						continue
					default:
					}
					m, err := in.Recv(b.Context())
					if err != nil {
						got <- err
						return
					}
					m.Release()
					n++
				}
				got <- nil
			}()
			msg := make([]byte, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				if _, err := out.Send(b.Context(), msg); err != nil {
					b.Fatal(err)
				}
				n++
			}
			want <- n + 1
			if _, err := out.Send(b.Context(), msg); err != nil {
				b.Fatal(err)
			}
			if err := <-got; err != nil {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkPingPong measures the round trip of a small message through both endpoints.
func BenchmarkPingPong(b *testing.B) {
	near, far := loopbackPair(b)
	go echoSession(b.Context(), far)
	out, err := near.OpenFlow("ping", nil)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := out.Send(b.Context(), []byte("x")); err != nil {
		b.Fatal(err)
	}
	in, err := near.AcceptFlow(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	if _, err := in.Recv(b.Context()); err != nil {
		b.Fatal(err)
	}
	msg := make([]byte, 64)
	for b.Loop() {
		if _, err := out.Send(b.Context(), msg); err != nil {
			b.Fatal(err)
		}
		if _, err := in.Recv(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRaw is what the machine can do at best with one system call for each packet: datagrams of 1200 bytes over
// loopback, sealed and opened with AES-128-GCM, a window of 64 in flight.
func BenchmarkRaw(b *testing.B) {
	listen := func() *net.UDPConn {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = c.Close() })
		return c
	}
	gcm := func() cipher.AEAD {
		block, err := aes.NewCipher(make([]byte, 16))
		if err != nil {
			b.Fatal(err)
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			b.Fatal(err)
		}
		return aead
	}
	const size, window = 1200, 64
	send, recv := listen(), listen()
	to := recv.LocalAddr().(*net.UDPAddr).AddrPort()
	back := send.LocalAddr().(*net.UDPAddr).AddrPort()
	go func() { // opens packets and acknowledges every 16th
		aead, nonce, buf := gcm(), make([]byte, 12), make([]byte, 2048)
		for n := uint64(0); ; n++ {
			k, _, err := recv.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			binary.BigEndian.PutUint64(nonce[4:], n)
			if _, err := aead.Open(buf[:0], nonce, buf[:k], nil); err != nil {
				return
			}
			if n%16 == 15 {
				_, _ = recv.WriteToUDPAddrPort(buf[:8], back)
			}
		}
	}()
	credit := make(chan struct{}, 1024)
	go func() {
		buf := make([]byte, 64)
		for {
			if _, _, err := send.ReadFromUDPAddrPort(buf); err != nil {
				return
			}
			credit <- struct{}{}
		}
	}()
	aead, nonce, buf := gcm(), make([]byte, 12), make([]byte, size, 2048)
	b.SetBytes(size - 16)
	n := uint64(0)
	for b.Loop() {
		if n >= window && n%16 == 0 {
			<-credit
		}
		binary.BigEndian.PutUint64(nonce[4:], n)
		pkt := aead.Seal(buf[:0], nonce, buf[:size-16], nil)
		if _, err := send.WriteToUDPAddrPort(pkt, to); err != nil {
			b.Fatal(err)
		}
		n++
	}
}
