// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package rendezvous_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/seed-98f0d4c2/runnel/signaling/internal/rvproto"
)

// A stranger who is refused and answers the closing with the head of a frame that never comes must not keep his
// connection for longer than the time to register.
func TestRefusedConnectionNeverEnds(t *testing.T) {
	inLab(t, nil, func(t *testing.T, l *lab) {
		var conn net.Conn
		ws, _, err := websocket.Dial(t.Context(), labURL, &websocket.DialOptions{
			HTTPClient: &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, n, a string) (net.Conn, error) {
				c, err := l.dial(ctx, n, a)
				conn = c
				return c, err
			}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer ws.CloseNow()
		r := &raw{t, l.key(), ws}
		r.write(&rvproto.Frame{Type: rvproto.TypeVerify}) // no hello
		r.want("refusal", rvproto.TypeError)
		go io.Copy(io.Discard, conn) // the close frame
		// A masked binary frame of 2^30 bytes, of which none follows.
		if _, err := conn.Write([]byte{0x82, 0xFF, 0, 0, 0, 0, 0x40, 0, 0, 0, 1, 2, 3, 4}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if s := l.srv.Stats(); s.Connections != 0 {
			t.Errorf("an hour after it was refused: %d connections, %d of them unregistered; want none", s.Connections, s.Unregistered)
		}
		done := make(chan struct{})
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			_ = l.srv.Shutdown(ctx)
			close(done)
		}()
		time.Sleep(time.Minute)
		select {
		case <-done:
		default:
			t.Error("Shutdown, given a second, has not returned after a minute")
		}
		conn.Close()
		<-done
	})
}
