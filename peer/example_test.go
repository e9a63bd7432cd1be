// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/netip"

	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/signaling"
)

// exampleEndpoint starts an endpoint on loopback that is introduced by an in-memory hub.
func exampleEndpoint(ctx context.Context, hub *signaling.Hub) *peer.Endpoint {
	key, err := signaling.GenerateKey()
	if err != nil {
		log.Fatal(err)
	}
	e, err := peer.Listen(ctx, &peer.Config{
		Key:        key,
		Signaler:   hub.Join(signaling.IDFromKey(key)),
		ListenAddr: netip.MustParseAddrPort("127.0.0.1:0"),
		Loopback:   true,
	})
	if err != nil {
		log.Fatal(err)
	}
	return e
}

// Two peers in one process: one dials the other by its ID and sends it a message.
func Example() {
	ctx := context.Background()
	var hub signaling.Hub
	alice, bob := exampleEndpoint(ctx, &hub), exampleEndpoint(ctx, &hub)
	defer alice.Close(ctx)
	defer bob.Close(ctx)

	received := make(chan string)
	go func() {
		s, err := bob.Accept(ctx)
		if err != nil {
			log.Fatal(err)
		}
		f, err := s.AcceptFlow(ctx)
		if err != nil {
			log.Fatal(err)
		}
		m, err := f.Recv(ctx)
		if err != nil {
			log.Fatal(err)
		}
		received <- fmt.Sprintf("%s: %s", f.Label(), m.Data)
	}()

	s, err := alice.Dial(ctx, bob.ID())
	if err != nil {
		log.Fatal(err)
	}
	f, err := s.OpenFlow("greetings", nil)
	if err != nil {
		log.Fatal(err)
	}
	receipt, err := f.Send(ctx, []byte("hello"))
	if err != nil {
		log.Fatal(err)
	}
	if err := receipt.Wait(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println(<-received)
	// Output: greetings: hello
}

// A stream is a net.Conn between two peers.
// Why a session is not direct, or not at all, and what would help.
func ExampleSession_Explain() {
	var ep *peer.Endpoint // see Listen
	var id peer.ID
	if ep == nil {
		return
	}
	s, err := ep.Dial(context.Background(), id)
	var dial *peer.DialError
	switch {
	case err == nil:
		x := s.Explain()
		fmt.Println(x.State, x.Path.Kind, x.Remedy)
	case errors.As(err, &dial) && dial.Explanation != nil:
		fmt.Print(dial.Explanation) // for whoever may see addresses
	}
}

func ExampleSession_OpenStream() {
	ctx := context.Background()
	var hub signaling.Hub
	alice, bob := exampleEndpoint(ctx, &hub), exampleEndpoint(ctx, &hub)
	defer alice.Close(ctx)
	defer bob.Close(ctx)

	go func() {
		s, err := bob.Accept(ctx)
		if err != nil {
			log.Fatal(err)
		}
		c, err := s.AcceptStream(ctx)
		if err != nil {
			log.Fatal(err)
		}
		defer c.Close()
		if _, err := io.Copy(c, c); err != nil { // echo
			log.Print(err)
		}
	}()

	s, err := alice.Dial(ctx, bob.ID())
	if err != nil {
		log.Fatal(err)
	}
	c, err := s.OpenStream("echo")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprint(c, "there and back")
	if err := c.CloseWrite(); err != nil {
		log.Fatal(err)
	}
	all, err := io.ReadAll(c)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", all)
	// Output: there and back
}

// A peer whose address is known is dialled with no rendezvous at all.
func ExampleEndpoint_DialTarget() {
	ctx := context.Background()
	addr := netip.MustParseAddrPort("127.0.0.1:0")
	listener, err := peer.Listen(ctx, &peer.Config{ListenAddr: addr})
	if err != nil {
		log.Fatal(err)
	}
	defer listener.Close(ctx)
	dialler, err := peer.Listen(ctx, &peer.Config{ListenAddr: addr})
	if err != nil {
		log.Fatal(err)
	}
	defer dialler.Close(ctx)

	s, err := dialler.DialTarget(ctx, peer.Target{ID: listener.ID(), Addrs: listener.LocalAddrs()})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(s.Peer() == listener.ID())
	// Output: true
}

// A handler serves every peer that has a session with the endpoint. Its errors have codes.
func ExampleEndpoint_Handle() {
	ctx := context.Background()
	var hub signaling.Hub
	alice, bob := exampleEndpoint(ctx, &hub), exampleEndpoint(ctx, &hub)
	defer alice.Close(ctx)
	defer bob.Close(ctx)

	const noName peer.CallCode = 1000
	bob.Handle("greet", func(_ context.Context, req *peer.Request) ([]byte, error) {
		if len(req.Data) == 0 {
			return nil, peer.Errorf(noName, "whom?")
		}
		return fmt.Appendf(nil, "hello %s", req.Data), nil
	})

	answer, err := alice.Call(ctx, bob.ID(), "greet", []byte("world"), nil) // dials
	fmt.Printf("%s %v\n", answer, err)
	_, err = alice.Call(ctx, bob.ID(), "greet", nil, nil)
	var ce *peer.CallError
	fmt.Println(errors.As(err, &ce) && ce.Code == noName, ce.Message)
	// Output:
	// hello world <nil>
	// true whom?
}

// Whether a call may be made again without harm is in its error.
func ExampleSession_Call() {
	ctx := context.Background()
	var hub signaling.Hub
	alice, bob := exampleEndpoint(ctx, &hub), exampleEndpoint(ctx, &hub)
	defer alice.Close(ctx)
	defer bob.Close(ctx)

	started := make(chan struct{})
	bob.Handle("pay", func(ctx context.Context, _ *peer.Request) ([]byte, error) {
		close(started)
		<-ctx.Done() // something takes too long
		return nil, ctx.Err()
	})
	s, err := alice.Dial(ctx, bob.ID())
	if err != nil {
		log.Fatal(err)
	}
	impatient, cancel := context.WithCancel(ctx)
	go func() {
		<-started
		cancel()
	}()
	_, err = s.Call(impatient, "pay", []byte("5"), nil)
	var ce *peer.CallError
	if errors.As(err, &ce) {
		fmt.Println(ce.Code, "- may have run:", ce.MayHaveRun)
	}
	_, err = s.Call(ctx, "play", []byte("5"), nil)
	if errors.As(err, &ce) {
		fmt.Println(ce.Code, "- may have run:", ce.MayHaveRun)
	}
	// Output:
	// cancelled - may have run: true
	// no such method - may have run: false
}

// A streaming call: the handler answers as long as it is asked.
func ExampleSession_CallStream() {
	ctx := context.Background()
	var hub signaling.Hub
	alice, bob := exampleEndpoint(ctx, &hub), exampleEndpoint(ctx, &hub)
	defer alice.Close(ctx)
	defer bob.Close(ctx)

	bob.HandleStream("squares", func(ctx context.Context, st *peer.HandlerStream) error {
		for {
			m, err := st.Recv(ctx)
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			if err := st.Send(ctx, []byte{m[0] * m[0]}); err != nil {
				return err
			}
		}
	})
	s, err := alice.Dial(ctx, bob.ID())
	if err != nil {
		log.Fatal(err)
	}
	st, err := s.CallStream(ctx, "squares", nil)
	if err != nil {
		log.Fatal(err)
	}
	for n := range byte(4) {
		if err := st.Send(ctx, []byte{n}); err != nil {
			log.Fatal(err)
		}
	}
	if err := st.CloseSend(ctx); err != nil {
		log.Fatal(err)
	}
	for {
		m, err := st.Recv(ctx)
		if err != nil {
			fmt.Println(err)
			break
		}
		fmt.Println(m[0])
	}
	// Output:
	// 0
	// 1
	// 4
	// 9
	// EOF
}

// Package net/http serves and asks between peers. The host of a URL is the ID of a peer.
func ExampleEndpoint_Listener() {
	ctx := context.Background()
	var hub signaling.Hub
	alice, bob := exampleEndpoint(ctx, &hub), exampleEndpoint(ctx, &hub)
	defer alice.Close(ctx)
	defer bob.Close(ctx)

	l, err := bob.Listener("http")
	if err != nil {
		log.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "it is alice: %t", r.RemoteAddr == alice.ID().String())
	})}
	go srv.Serve(l)
	defer srv.Close()

	client := http.Client{Transport: &http.Transport{DialContext: alice.Dialer("http").DialContext}}
	resp, err := client.Get("http://" + bob.ID().String() + "/")
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	fmt.Printf("%s %v\n", body, err)
	// Output: it is alice: true <nil>
}
