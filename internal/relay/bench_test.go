// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package relay

import (
	"encoding/binary"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/pionx/stunx"
)

// cpu returns the processor time of the process. Unlike the wall clock it does not depend on what else runs here.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkRelay relays packets of 1200 bytes between a client and a peer, both part of the process: subtract the cost
// of path=direct, which is the same without the relay.
func BenchmarkRelay(b *testing.B) {
	s, r := realRelay(b, nil)
	server := addrPort(s.c.PacketConns[0].LocalAddr())
	client := r.pc.(*net.UDPConn)
	peer, err := net.ListenUDP("udp4", &net.UDPAddr{IP: localhost.AsSlice()})
	ok(b, err)
	defer peer.Close()
	to := addrPort(peer.LocalAddr())
	if r.allocate() != 0 {
		b.Fatal("no allocation")
	}
	v, _ := stunx.Get(r.answer, stunx.XORRelayedAddress)
	relayed, _ := stunx.XORAddr(v, stunx.TransactionID(r.answer))
	if r.bind(0x4000, to) != 0 {
		b.Fatal("no channel")
	}
	buf := make([]byte, 1500)

	plain := make([]byte, 1200)
	channel := binary.BigEndian.AppendUint16([]byte{0x40, 0}, uint16(len(plain)))
	channel = append(channel, plain...)
	run := func(name string, from, into *net.UDPConn, b0 []byte, dst string) {
		b.Run(name, func(b *testing.B) {
			target := to
			switch dst {
			case "server":
				target = server
			case "relayed":
				target = relayed
			}
			const window = 32
			b.ReportAllocs()
			b.SetBytes(int64(len(plain)))
			in, lost := 0, 0
			recv := func() {
				_ = into.SetReadDeadline(time.Now().Add(time.Second))
				for ; in > 0; in-- {
					if _, _, err := into.ReadFromUDPAddrPort(buf); err != nil {
						lost += in
						in = 0
						return
					}
				}
			}
			began := cpu()
			for b.Loop() {
				if _, err := from.WriteToUDPAddrPort(b0, target); err != nil {
					b.Fatal(err)
				}
				if in++; in == window {
					recv()
				}
			}
			recv()
			b.ReportMetric(float64(cpu()-began)/float64(b.N)/1e3, "cpu-us/op")
			b.ReportMetric(float64(lost), "lost")
		})
	}
	run("path=direct", client, peer, plain, "peer")
	run("path=to_peer", client, peer, channel, "server")
	run("path=from_peer", peer, client, plain, "relayed")
}
