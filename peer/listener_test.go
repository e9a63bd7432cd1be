// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/nettest"

	"github.com/seed-98f0d4c2/runnel/flow"
	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/peer/peertest"
)

// Streams are connections as package net's are.
func TestStreamIsAConn(t *testing.T) {
	n := peertest.New(t, &peertest.Config{NoRelay: true})
	near, far := n.Endpoint(peertest.Public, nil), n.Endpoint(peertest.Public, nil)
	l, err := far.Listener("conn")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialer := near.Dialer("conn")
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		if c1, err = dialer.Dial(t.Context(), far.ID().String()); err != nil {
			return nil, nil, nil, err
		}
		if c2, err = l.Accept(); err != nil {
			return nil, nil, nil, err
		}
		return c1, c2, func() { _, _ = c1.Close(), c2.Close() }, nil
	})
}

// send opens a stream under a label and writes to it.
func send(t *testing.T, s *peer.Session, label, text string) {
	t.Helper()
	st, err := s.OpenStream(label)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(st, text); err != nil {
		t.Fatal(err)
	}
	if err := st.CloseWrite(); err != nil {
		t.Fatal(err)
	}
}

// wantStream checks what the next stream of a listener says.
func wantStream(t *testing.T, l net.Listener, want string) {
	t.Helper()
	c, err := l.Accept()
	if err != nil {
		t.Fatalf("waiting for %q: %v", want, err)
	}
	if got, err := io.ReadAll(c); err != nil || string(got) != want {
		t.Errorf("the stream says %q, %v; want %q", got, err, want)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func TestListener(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, far, s := callPair(t, nil)
		back, err := far.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		send(t, s, "a", "before there is a listener")
		time.Sleep(time.Second)
		all, err := far.Listener("a")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := far.Listener("a"); err == nil {
			t.Error("a label has two listeners")
		}
		wantStream(t, all, "before there is a listener")
		send(t, s, "a", "to the endpoint")
		wantStream(t, all, "to the endpoint")

		one, err := back.Listener("a")
		if err != nil {
			t.Fatal(err)
		}
		send(t, s, "a", "to the session")
		wantStream(t, one, "to the session")
		send(t, s, "b", "to nobody")
		st, err := back.AcceptStream(t.Context())
		if err != nil || st.Label() != "b" {
			t.Fatalf("AcceptStream returned %v, %v; want the stream that no listener is for", st, err)
		}

		// A stream that is refused, because the listener that it waits in is closed, says so at the other end.
		c, err := s.OpenStream("a")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if err := one.Close(); err != nil {
			t.Error(err)
		}
		if _, err := one.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept of a closed listener: %v, want net.ErrClosed", err)
		}
		time.Sleep(time.Second)
		if _, err := c.Write([]byte("x")); err == nil {
			t.Error("writing to a stream that was refused went well")
		}
		send(t, s, "a", "to the endpoint again")
		wantStream(t, all, "to the endpoint again")

		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := all.Accept(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("Accept of a closed endpoint's listener: %v, want net.ErrClosed", err)
			}
		})
		synctest.Wait()
		if err := far.Close(t.Context()); err != nil {
			t.Error(err)
		}
		wg.Wait()
		if _, err := far.Listener("c"); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a listener of a closed endpoint: %v, want net.ErrClosed", err)
		}
	})
}

// TestOnePeerFillsAListener: a peer that opens streams faster than they are accepted is refused some, and keeps nobody out.
func TestOnePeerFillsAListener(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const opened, share = 900, 819
		n := peertest.New(t, &peertest.Config{OneWay: 5 * time.Millisecond, NoRelay: true})
		far := n.Endpoint(peertest.Public, nil)
		l, err := far.Listener("a")
		if err != nil {
			t.Fatal(err)
		}
		greedy, _ := meet(t, n.Endpoint(peertest.Public, nil), far)
		modest, _ := meet(t, n.Endpoint(peertest.Public, nil), far)
		open := func(s *peer.Session, count int) (all []*peer.Stream) {
			for range count {
				st, err := s.OpenStream("a")
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, st)
			}
			time.Sleep(time.Second)
			return all
		}
		refused := func(all []*peer.Stream) (count int) {
			for _, st := range all {
				if _, err := st.Write([]byte("x")); err != nil {
					if rejected := (*flow.RejectedError)(nil); !errors.As(err, &rejected) {
						t.Fatalf("writing to a stream that was refused: %v, want a *flow.RejectedError", err)
					}
					count++
				}
			}
			return count
		}
		if got, want := refused(open(greedy, opened)), opened-share; got != want {
			t.Errorf("%d streams refused, want %d", got, want)
		}
		if got := refused(open(modest, 100)); got != 0 {
			t.Errorf("%d streams of another peer refused, want none", got)
		}
		for i := range share + 100 {
			if _, err := l.AcceptStream(t.Context()); err != nil {
				t.Fatalf("stream %d: %v", i, err)
			}
		}
		if got := refused(open(greedy, 1)); got != 0 {
			t.Error("a stream was refused although none waits")
		}
	})
}

// Sessions that nobody accepts serve a listener all the same, however many there are.
func TestListenerNeedsNoAccept(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: time.Millisecond, NoRelay: true})
		far := n.Endpoint(peertest.Public, &peer.Config{Backlog: 2})
		l, err := far.Listener("a")
		if err != nil {
			t.Fatal(err)
		}
		for i := range 5 {
			c, err := n.Endpoint(peertest.Public, nil).Dialer("a").Dial(t.Context(), far.ID().String())
			if err != nil {
				t.Fatalf("peer %d: %v", i, err)
			}
			if _, err := io.WriteString(c, "hello"); err != nil {
				t.Fatal(err)
			}
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
			wantStream(t, l, "hello")
		}
		if got := far.Stats(); got.Sessions != 5 || got.Waiting != 2 {
			t.Errorf("%d sessions live, and %d wait for Accept; want 5 and 2", got.Sessions, got.Waiting)
		}
	})
}

func TestReservedLabels(t *testing.T) {
	bubble(t, func(t *testing.T) {
		near, far, s := callPair(t, nil)
		if _, err := s.OpenFlow("runnel.x", nil); err == nil {
			t.Error("a flow was opened under a reserved label")
		}
		if _, err := s.OpenStream("runnel.x"); err == nil {
			t.Error("a stream was opened under a reserved label")
		}
		if _, err := far.Listener("runnel.x"); err == nil {
			t.Error("a listener was made for a reserved label")
		}
		_, err := near.Call(t.Context(), far.ID(), "nothing", nil, nil)
		wantCallError(t, err, peer.CallNotFound, false)
		back, err := far.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		limited, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if f, err := back.AcceptFlow(limited); err == nil {
			t.Errorf("AcceptFlow returned a flow under the label %q", f.Label())
		}
	})
}

func TestDialerErrors(t *testing.T) {
	bubble(t, func(t *testing.T) {
		near, _, _ := callPair(t, nil)
		var oe *net.OpError
		if _, err := near.Dialer("a").DialContext(t.Context(), "tcp", "example.com:80"); !errors.As(err, &oe) || oe.Op != "dial" {
			t.Errorf("dialling a host name: %v, want an OpError", err)
		}
		if _, err := near.Dialer("a").Dial(t.Context(), near.ID().String()); !errors.As(err, &oe) {
			t.Errorf("dialling oneself: %v, want an OpError", err)
		}
	})
}

// Package net/http serves and asks over a session as over TCP, with both versions of HTTP.
func TestHTTP(t *testing.T) {
	bubble(t, func(t *testing.T) {
		near, far, _ := callPair(t, nil)
		l, err := far.Listener("http")
		if err != nil {
			t.Fatal(err)
		}
		protocols := new(http.Protocols)
		protocols.SetHTTP1(true)
		protocols.SetUnencryptedHTTP2(true)
		srv := &http.Server{
			Protocols: protocols,
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				n, _ := io.Copy(io.Discard, r.Body)
				w.Header().Set("X-Peer", r.RemoteAddr)
				http.Error(w, strings.Repeat("x", int(n)), http.StatusTeapot)
			}),
		}
		served := make(chan error, 1)
		go func() { served <- srv.Serve(l) }()
		for _, http2 := range []bool{false, true} {
			only := new(http.Protocols)
			only.SetHTTP1(!http2)
			only.SetUnencryptedHTTP2(http2)
			transport := &http.Transport{DialContext: near.Dialer("http").DialContext, Protocols: only}
			client := &http.Client{Transport: transport}
			for range 3 {
				const size = 300_000
				resp, err := client.Post("http://"+far.ID().String()+"/", "text/plain", strings.NewReader(strings.Repeat("x", size)))
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(resp.Body)
				if err != nil || len(body) != size+1 || resp.StatusCode != http.StatusTeapot || (resp.ProtoMajor == 2) != http2 {
					t.Errorf("answer is %s %s of %d bytes, %v; want 418 and %d", resp.Proto, resp.Status, len(body), err, size+1)
				}
				if got := resp.Header.Get("X-Peer"); got != near.ID().String() {
					t.Errorf("the server sees %q, want the peer's ID", got)
				}
				_ = resp.Body.Close()
			}
			transport.CloseIdleConnections()
		}
		if err := srv.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("the server ended with %v, want ErrServerClosed", err)
		}
	})
}

// A session that was dialled by address is found by ID, without a rendezvous.
func TestDialFindsSession(t *testing.T) {
	listen := func() *peer.Endpoint {
		e, err := peer.Listen(t.Context(), &peer.Config{ListenAddr: netip.MustParseAddrPort("127.0.0.1:0")})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = e.Close(context.Background()) })
		return e
	}
	near, far := listen(), listen()
	if _, err := near.Dial(t.Context(), far.ID()); !errors.Is(err, peer.ErrNoSignaler) {
		t.Errorf("dialling a peer that nobody knows: %v, want ErrNoSignaler", err)
	}
	s, err := near.DialTarget(t.Context(), peer.Target{ID: far.ID(), Addrs: far.LocalAddrs()})
	if err != nil {
		t.Fatal(err)
	}
	if again, err := near.Dial(t.Context(), far.ID()); again != s || err != nil {
		t.Errorf("dialling by ID returns %p, %v; want the session that exists, %p", again, err, s)
	}
}
