// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package rendezvous

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/seed-98f0d4c2/runnel/signaling"
	"github.com/seed-98f0d4c2/runnel/signaling/internal/rvproto"
)

// A Server introduces peers to each other. It is an [http.Handler] for the WebSocket path, and a prometheus.Collector.
// Each connection has two goroutines, one for each direction.
type Server struct {
	config   Config       // with defaults
	connects *bucketTable // by network
	pairs    *bucketTable // by sender and receiver
	counters counters
	buffered atomic.Int64 // bytes of payload in sessions

	running sync.WaitGroup // goroutines of connections; Add with mu held and not draining

	mu       sync.Mutex // guards the following; taken before a session's or a connection's
	draining bool
	conns    map[*conn]struct{}
	perIP    map[netip.Prefix]int // of conns
	pending  int                  // of conns: not registered yet
	sessions map[signaling.PeerID]*session
	detached int // of sessions: without a connection
	epoch    uint64
}

// New returns a server. Its errors match [ErrConfig]. c may be nil.
func New(c *Config) (*Server, error) {
	config, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Server{
		config:   config,
		connects: newBucketTable(config.Limits.ConnectRate, connectBurst),
		pairs:    newBucketTable(config.Limits.SendRate, config.Limits.SendBurst),
		conns:    make(map[*conn]struct{}),
		perIP:    make(map[netip.Prefix]int),
		sessions: make(map[signaling.PeerID]*session),
	}, nil
}

// ServeHTTP takes a WebSocket over and returns; the connection goes on without the request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ip := s.clientIP(r)
	c := newConn(s, ip, s.nameFor(r.Host))
	if refused := s.admit(c); refused != nil {
		c.cancel(refused)
		refused.counter.Add(1)
		w.Header().Set("Retry-After", refused.retryAfter)
		http.Error(w, refused.text, refused.status)
		return
	}
	ws, err := websocket.Accept(&hijackTap{w, c}, r, &websocket.AcceptOptions{OriginPatterns: s.config.AllowOrigin})
	if err != nil { // it has answered the request
		s.counters.notWebSocket.Add(1)
		c.cancel(err)
		s.remove(c)
		s.running.Done()
		return
	}
	ws.SetReadLimit(rvproto.MaxFrame)
	c.ws = ws
	go func() {
		defer s.running.Done()
		c.serve()
	}()
}

// nameFor is what the server calls itself towards a client that asked for host. Only configured names count: a server
// that took any name could be made to accept signatures that were meant for another one.
func (s *Server) nameFor(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	for _, alias := range s.config.Aliases {
		if alias == host {
			return alias
		}
	}
	return s.config.Name
}

// A refusal is an answer to a request that is not let in.
type refusal struct {
	text       string
	status     int
	retryAfter string // seconds
	counter    *atomic.Uint64
}

func (r *refusal) Error() string { return r.text }

// admit enters c in the books, or says why not. After nil, remove and running.Done are owed.
func (s *Server) admit(c *conn) *refusal {
	busy := &refusal{"too many connections", http.StatusServiceUnavailable, "10", &s.counters.refusedFull}
	many := &refusal{"too many connections from this address", http.StatusTooManyRequests, "5", &s.counters.refusedIP}
	l := &s.config.Limits
	key, _ := c.network.MarshalBinary()
	if !s.connects.take(time.Now(), key) {
		return many
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.draining:
		return &refusal{"shutting down", http.StatusServiceUnavailable, "5", &s.counters.refusedFull}
	case s.perIP[c.network] >= l.ConnectionsPerIP:
		return many
	case len(s.conns) >= l.Connections, s.pending >= max(1, l.Connections/10):
		return busy
	}
	s.running.Add(1)
	s.conns[c] = struct{}{}
	s.perIP[c.network]++
	s.pending++
	c.pending = true
	return nil
}

// settled takes c off the list of those that have not registered yet.
func (s *Server) settledLocked(c *conn) {
	if c.pending {
		c.pending = false
		s.pending--
	}
}

// remove takes c out of the books.
func (s *Server) remove(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settledLocked(c)
	delete(s.conns, c)
	if s.perIP[c.network]--; s.perIP[c.network] <= 0 {
		delete(s.perIP, c.network)
	}
}

// Draining reports whether Shutdown was called. A server that drains is not ready for new clients.
func (s *Server) Draining() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.draining
}

// Shutdown refuses new clients, tells all others that the server goes away, and closes their connections. It returns when
// all have ended; when ctx ends first it breaks off those that have not, and returns the error of ctx. Sessions are
// forgotten: clients register anew, here or elsewhere.
func (s *Server) Shutdown(ctx context.Context) error {
	delay := s.config.ReconnectSpread
	s.mu.Lock()
	s.draining = true
	s.config.Log.Info("shutting down", slog.Int("connections", len(s.conns)))
	for c := range s.conns {
		if c.pending {
			c.cancel(errShutdown)
			continue
		}
		c.shut(websocket.StatusServiceRestart, "shutting down", &rvproto.Frame{
			Type:  rvproto.TypeGoingAway,
			Delay: delay.Milliseconds(),
		})
	}
	for _, sess := range s.sessions {
		sess.dropIfDetachedLocked()
	}
	s.mu.Unlock()

	ended := make(chan struct{})
	go func() {
		s.running.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	for c := range s.conns {
		c.cancel(errShutdown)
	}
	s.mu.Unlock()
	<-ended // soon: their sockets are closed
	return ctx.Err()
}

var errShutdown = errors.New("rendezvous: shutting down")
