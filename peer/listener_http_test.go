// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/flow"
	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/peer/peertest"
)

// A countingListener counts what it accepts.
type countingListener struct {
	net.Listener
	n atomic.Int32
}

func (l *countingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.n.Add(1)
	}
	return c, err
}

// Requests one after the other go over one stream, however long apart; when the session is lost, the next request finds
// another; what the client gives up ends at the server.
func TestHTTPReusesStreams(t *testing.T) {
	bubble(t, func(t *testing.T) {
		near, far, s := callPair(t, nil)
		l, err := far.Listener("http")
		if err != nil {
			t.Fatal(err)
		}
		counting := &countingListener{Listener: l}
		gone := make(chan error, 1)
		mux := http.NewServeMux()
		mux.HandleFunc("/hello", func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(w, r.Body)
		})
		mux.HandleFunc("/hang", func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			gone <- r.Context().Err()
		})
		srv := &http.Server{Handler: mux}
		served := make(chan error, 1)
		go func() { served <- srv.Serve(counting) }()
		transport := &http.Transport{DialContext: near.Dialer("http").DialContext}
		client := &http.Client{Transport: transport}
		ask := func() {
			t.Helper()
			resp, err := client.Post("http://"+far.ID().String()+"/hello", "text/plain", strings.NewReader("hello"))
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if b, err := io.ReadAll(resp.Body); err != nil || string(b) != "hello" {
				t.Errorf("answer is %q, %v; want hello", b, err)
			}
		}
		for range 5 {
			ask()
			time.Sleep(10 * time.Minute)
		}
		if got := counting.n.Load(); got != 1 {
			t.Errorf("5 requests took %d streams, want 1", got)
		}
		s.Abort(2000, "")
		time.Sleep(time.Second)
		ask()
		if got := counting.n.Load(); got != 2 {
			t.Errorf("%d streams after the session was lost, want 2", got)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+far.ID().String()+"/hang", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a request that takes too long ends with %v, want the deadline", err)
		}
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Errorf("the server's request ended with %v, want context.Canceled", err)
		}
		transport.CloseIdleConnections()
		if err := srv.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		<-served
	})
}

// A half that is closed is so for the other side only, and the other half goes on for as long as it likes.
func TestStreamHalfClose(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, far, s := callPair(t, nil)
		l, err := far.Listener("half")
		if err != nil {
			t.Fatal(err)
		}
		c, err := s.OpenStream("half")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, "question\n"); err != nil {
			t.Fatal(err)
		}
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("writing to a half that is closed: %v, want net.ErrClosed", err)
		}
		other, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(other); err != nil || string(b) != "question\n" {
			t.Fatalf("%q, %v; want the question and the end", b, err)
		}
		r := bufio.NewReader(c)
		for range 3 {
			time.Sleep(time.Hour)
			if _, err := io.WriteString(other, "answer\n"); err != nil {
				t.Fatal(err)
			}
			if line, err := r.ReadString('\n'); err != nil || line != "answer\n" {
				t.Fatalf("%q, %v; want answer", line, err)
			}
		}
		if err := other.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := r.ReadByte(); !errors.Is(err, io.EOF) {
			t.Errorf("after the other side's Close: %v, want io.EOF", err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		wantNothingLeft(t, s, far)
	})
}

// Listeners that come and go while streams arrive lose none without telling: each is accepted or refused.
func TestListenersComeAndGo(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, far, s := callPair(t, nil)
		stop := make(chan struct{})
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for {
				select {
				case <-stop:
					return
				default:
				}
				l, err := far.Listener("x")
				if err != nil {
					t.Error(err)
					return
				}
				time.AfterFunc(7*time.Millisecond, func() { _ = l.Close() })
				for {
					c, err := l.Accept()
					if err != nil {
						break
					}
					_, _ = io.WriteString(c, "hello")
					_ = c.Close()
				}
			}
		}()
		accepted, refused := 0, 0
		for range 200 {
			c, err := s.OpenStream("x")
			if err != nil {
				t.Fatal(err)
			}
			if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(c)
			var timeout net.Error
			switch {
			case err == nil && string(b) == "hello":
				accepted++
			case errors.As(err, &timeout) && timeout.Timeout():
				t.Fatalf("a stream was neither accepted nor refused: %v", err)
			default:
				refused++
			}
			_ = c.Close()
			time.Sleep(time.Millisecond)
		}
		close(stop)
		<-ended
		if accepted == 0 {
			t.Error("no stream was accepted")
		}
		wantNothingLeft(t, s, far)
	})
}

// Who dials at the very moment in which the session ends gets a stream on another.
func TestDialerWhileSessionEnds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: time.Millisecond, NoRelay: true})
		far := n.Endpoint(peertest.Public, nil)
		l, err := far.Listener("x")
		if err != nil {
			t.Fatal(err)
		}
		var near *peer.Endpoint
		dialled := make(chan error, 1)
		first := true
		near = n.Endpoint(peertest.Public, &peer.Config{Trace: func(peer.SessionInfo) *peer.Trace {
			if !first {
				return nil
			}
			first = false
			closing := false
			return &peer.Trace{Flow: flow.Trace{FlowClosed: func(flow.Closed) {
				if closing {
					return
				}
				closing = true // the flows have ended, and nobody knows yet that the session has
				go func() {
					c, err := near.Dialer("x").Dial(t.Context(), far.ID().String())
					if err == nil {
						_, err = io.WriteString(c, "hello")
					}
					dialled <- err
				}()
				time.Sleep(time.Microsecond)
			}}}
		}})
		s, back := meet(t, near, far)
		if _, err := s.OpenStream("y"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		back.Abort(2000, "")
		if err := <-dialled; err != nil {
			t.Fatalf("dialling: %v", err)
		}
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 5)
		if _, err := io.ReadFull(c, b); err != nil || string(b) != "hello" {
			t.Errorf("the stream says %q, %v; want hello", b, err)
		}
	})
}
