// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/relay"
	"github.com/seed-98f0d4c2/runnel/mobility"
	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/signaling"
)

// certificate returns a certificate for 127.0.0.1 and a pool that trusts it.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// A relay is reached over UDP, TCP and TLS; these are real sockets on loopback.
func TestRelayTransports(t *testing.T) {
	const secret = "a secret of the relay's"
	cert, pool := certificate(t)
	loopback := netip.MustParseAddrPort("127.0.0.1:0")
	pc, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(loopback))
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(loopback))
	if err != nil {
		t.Fatal(err)
	}
	secure, err := tls.Listen("tcp4", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	srv, err := relay.New(&relay.Config{
		PacketConns: []net.PacketConn{pc},
		Listeners:   []net.Listener{tcp, secure},
		RelayIP:     loopback.Addr(),
		AllowHost:   true,
		AllowPeers:  []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		Secrets:     []string{secret},
	})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve() }()
	defer func() {
		_ = srv.Close()
		if err := <-served; !errors.Is(err, relay.ErrClosed) {
			t.Error(err)
		}
	}()

	for name, url := range map[string]string{
		"udp": "turn:" + pc.LocalAddr().String() + "?transport=udp",
		"tcp": "turn:" + tcp.Addr().String() + "?transport=tcp",
		"tls": "turns:" + secure.Addr().String(),
	} {
		t.Run(name, func(t *testing.T) {
			var hub signaling.Hub
			listen := func(id string) *peer.Endpoint {
				user, credential := relay.Credential(secret, id, time.Now().Add(time.Hour))
				key, err := signaling.GenerateKey()
				if err != nil {
					t.Fatal(err)
				}
				e, err := peer.Listen(t.Context(), &peer.Config{
					Key: key, Signaler: hub.Join(signaling.IDFromKey(key)), ListenAddr: loopback, Loopback: true,
					Relays:    []signaling.Relay{{URL: url, Username: user, Credential: credential}},
					RelayTLS:  &tls.Config{RootCAs: pool},
					Addresses: everybody(peer.RelayOnly),
				})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = e.Close(context.Background()) })
				return e
			}
			alice, bob := listen(name+" alice"), listen(name+" bob")
			go echo(t.Context(), bob)
			s, err := alice.Dial(t.Context(), bob.ID())
			if err != nil {
				t.Fatal(err)
			}
			if err := say(t.Context(), s, "through the relay"); err != nil {
				t.Fatal(err)
			}
			if p := s.Stats().Path; p.Kind != mobility.Relayed || !p.Local.IsValid() {
				t.Errorf("path is %+v, want a relayed one that leaves by our address at the relay", p)
			}
		})
	}
}
