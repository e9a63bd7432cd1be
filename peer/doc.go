// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

// Package peer connects peers by identity. An [Endpoint] is a local peer; a [Session] is a secure association with
// another, which carries message flows and byte streams and outlives changes of address.
//
// A program that greets a peer whose ID it is given:
//
//	key, err := signaling.LoadOrCreateKey("identity.pem")
//	if err != nil {
//		return err
//	}
//	rendezvous, err := signaling.NewClient("wss://rendezvous.example/v1", key, nil)
//	if err != nil {
//		return err
//	}
//	ep, err := peer.Listen(ctx, &peer.Config{Key: key, Signaler: rendezvous})
//	if err != nil {
//		return err
//	}
//	defer ep.Close(ctx)
//
//	s, err := ep.Dial(ctx, id) // the peer's public key is all it takes
//	if err != nil {
//		return err
//	}
//	f, err := s.OpenFlow("greetings", nil)
//	if err != nil {
//		return err
//	}
//	receipt, err := f.Send(ctx, []byte("hello"))
//	if err != nil {
//		return err
//	}
//	return receipt.Wait(ctx) // nil: the peer has it
//
// and its counterpart:
//
//	s, err := ep.Accept(ctx)
//	if err != nil {
//		return err
//	}
//	f, err := s.AcceptFlow(ctx)
//	if err != nil {
//		return err
//	}
//	for m, err := range f.Messages(ctx) {
//		if err != nil {
//			return err
//		}
//		fmt.Printf("%s says %s\n", s.Peer(), m.Data)
//	}
//
// # How a session comes to be
//
// The dialler sends a sealed offer through the rendezvous, which cannot read it. Both sides then look for a way to
// one another: ICE connectivity checks (RFC 8445) open the NATs between them while a TURN relay (RFC 8656) serves as
// a way that nearly always works. A DTLS handshake runs over every way that may work until one has answered. From
// its keys, an ML-KEM secret that travelled in offer and answer, and the offer and answer themselves, both sides
// derive the keys of the session. In its first packet each side proves that it holds the key it is named by; a
// session is never handed to the application before that. A session that began on a relay moves to a direct path
// in place when there is one. docs/PROTOCOL.md has every byte.
//
// # Calls
//
// On top of flows there is request and response. A handler is registered once and serves every peer that has a session
// with the endpoint, whoever dialled it:
//
//	ep.Handle("greet", func(ctx context.Context, req *peer.Request) ([]byte, error) {
//		return fmt.Appendf(nil, "hello %s", req.Data), nil
//	})
//
// and the other side, which may handle calls itself, asks
//
//	answer, err := s.Call(ctx, "greet", []byte("world"), nil)
//
// or, to dial when there is no session, [Endpoint.Call]. The handler's context ends with the caller's deadline and when
// the caller gives up. A handler is started at most once for a call; when there is no answer, [CallError].MayHaveRun
// says whether it may have been. [Session.CallStream] is a call with any number of messages each way.
//
// # Connections
//
// [Session.OpenStream], or a [Dialer], gives a [net.Conn], and a [Listener] accepts them, so that net/http, gRPC and
// whatever else speaks over TCP can speak between peers. A peer's ID takes the place of the host name.
//
// # Cancellation
//
// A context bounds the wait of the function it is passed to and nothing else. A session lives until it is closed or
// lost. [Session.CallStream] is the exception, and says so: its context bounds the whole exchange.
//
// # Goroutines
//
// An endpoint costs a goroutine for each socket and a few for signaling and relays; a session costs one, and so does
// each call that is being handled, or two if its handler waits for its context to end.
//
// # Watching
//
// [Session.Stats] and [Session.FlowStats] say how a session is doing, [Endpoint.Stats] what was dropped and why,
// [Config.Trace] tells of everything as it happens, and [Config.EventLog] writes it to a file that qlog's tools read.
// [Session.Explain] says why a session uses the path that it uses, and [DialError].Explanation why there is none.
// [Config.Conditioner] makes the network bad on purpose.
//
// # Limitations
//
// Calls are not resumed: a session that ends takes the calls on it with it.
//
// A session whose two ends move at the same moment needs the rendezvous to go on; so does one of which one end moves while
// the other is behind a NAT and there is no relay. Without a [NetworkMonitor] a move is found out by what it does to
// packets, which takes about half a second. Where there is no STUN server, the end of an outage is found out by the
// challenges of each session alone. A session does not survive its process. Relays and STUN
// servers are used over IPv4 and IPv6, but relayed addresses are IPv4. Packets have at most 1200 bytes on relayed
// paths. Session IDs and packet numbers are visible on the wire, so that an observer can link the paths of one
// session. With [Config.LAN] peers whose only common network has nothing but link-local addresses of IPv6 do not find each
// other; and a session that was dialled at an address, found or known, has no ML-KEM in its keys. A [Conditioner] does not
// affect what a session behind a hard NAT sends by a socket of its own, nor relays over TCP and TLS, nor the rendezvous.
package peer
