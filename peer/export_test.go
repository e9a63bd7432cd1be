// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"crypto/ed25519"
	"net/netip"
	"slices"
	"time"

	"github.com/seed-98f0d4c2/runnel/flow"
	"github.com/seed-98f0d4c2/runnel/internal/portmap"
	"github.com/seed-98f0d4c2/runnel/internal/wire"
	"github.com/seed-98f0d4c2/runnel/signaling"
)

// ProveWith makes endpoints of c sign their proofs of identity with another key.
func (c *Config) ProveWith(key ed25519.PrivateKey) { c.proofKey = key }

// RekeyAfter makes sessions of c replace their keys after n packets.
func (c *Config) RekeyAfter(n uint64) { c.rekeyAfter = n }

// Dropped returns how many datagrams went no further than e.
func (e *Endpoint) Dropped() (n uint64) {
	for i := range e.dropped {
		n += e.dropped[i].Load()
	}
	return n
}

// Sizes returns the sizes of the endpoint's tables.
func (e *Endpoint) Sizes() (peers, sessions, attempts, inbound, routes int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.routes.Range(func(any, any) bool { routes++; return true })
	return len(e.peers), len(e.sessions), len(e.attempts), e.inbound, routes
}

// AbortExhausted uses up the sending key of s and then ends s with an error that the peer is to be told. It returns
// what the session's loop panicked with, or nil.
func (s *Session) AbortExhausted() any {
	c := make(chan any, 1)
	s.post(func(now time.Time) {
		defer func() { c <- recover() }()
		buf := make([]byte, 9, 64)
		for s.keys.Seal(buf, len(buf), s.keys.NextPN()) != nil {
		}
		s.end(now, &CloseError{Code: 2000}, true)
	})
	return <-c
}

// Stamp returns the time that e would give a signaling message made now.
func (e *Endpoint) Stamp(now time.Time) time.Time { return e.stamp(now) }

// SendChunk sends a chunk to the peer, whatever it is.
func (s *Session) SendChunk(chunk []byte) {
	s.post(func(now time.Time) { s.sendAlone(now, s.mob.Current().Key, chunk) })
}

// OpenRaw opens a flow under any label.
func (s *Session) OpenRaw(label string, o *flow.Options) (*flow.Sender, error) {
	return s.mux.Open(label, o)
}

// Conditioned offers a datagram to the conditioner of e, or to none if e is nil, and reports whether it took it.
func Conditioned(e *Endpoint, b []byte) bool {
	var c *conditioned
	if e != nil {
		c = e.cond
	}
	return c.take(sending, b, len(b), netip.AddrPort{}, wire.NotECT)
}

// look returns what f says in the session's loop, or zero if the session has ended.
func look[T any](s *Session, f func() T) T {
	v, _ := ask(s, func(time.Time) T { return f() })
	return v
}

// Known returns where the peer has said that it may be reached, or nil if the session has ended.
func (s *Session) Known() []signaling.Candidate {
	return look(s, func() []signaling.Candidate { return slices.Clone(s.paths.remote) })
}

// NetworkChanged has e believe that its network has changed.
func (e *Endpoint) NetworkChanged() { e.networkChanged("a test says so") }

// Queued returns how many bytes of memory hold packets for the sessions of s's endpoint.
func (s *Session) Queued() int64 { return s.e.queued.Load() }

// CloseEndpoint closes the endpoint of s.
func (s *Session) CloseEndpoint(ctx context.Context) error { return s.e.Close(ctx) }

// SendConditioned offers packets of segment bytes to the conditioner of e, as a session does.
func SendConditioned(e *Endpoint, b []byte, segment int, to netip.AddrPort) bool {
	return e.cond.take(sending, b, segment, to, wire.NotECT)
}

// SendRaw sends a message to the caller without the byte that says what it is.
func (st *HandlerStream) SendRaw(ctx context.Context, msg []byte) error {
	_, err := st.out.Send(ctx, msg)
	return err
}

// AskRouter makes endpoints of c ask the router at addr, as if the network were the operating system's.
func (c *Config) AskRouter(addr, local netip.Addr) {
	c.gateway = func(_ context.Context, v6 bool) (portmap.Gateway, error) {
		if v6 {
			return portmap.Gateway{}, portmap.ErrNoGateway
		}
		return portmap.Gateway{Addr: addr, Local: local}, nil
	}
}

// LocalCandidates returns what e tells a peer that may learn everything.
func (e *Endpoint) LocalCandidates() []signaling.Candidate {
	return e.localCandidates(func(_ string, a netip.AddrPort) bool { return a.IsValid() })
}

// IDs returns the session IDs of the two ends.
func (s *Session) IDs() (local, remote wire.SessionID) {
	ids := look(s, func() [2]wire.SessionID { return [...]wire.SessionID{s.local, s.remote} })
	return ids[0], ids[1]
}

// Told returns the number of the list of addresses that the peer told last, and how many it has.
func (s *Session) Told() (seq uint64, addrs int) {
	return look(s, func() uint64 { return s.moves.heard }), len(s.Known())
}

// HandleSignal takes a message that from has signed.
func (e *Endpoint) HandleSignal(from ID, m *signaling.Message) { e.handleSignal(from, m) }

// Permitted returns how many addresses are let in at the relays of e.
func (e *Endpoint) Permitted() int {
	e.relays.mu.Lock()
	defer e.relays.mu.Unlock()
	return len(e.relays.wanted)
}

// ExtraSockets returns how many sockets sessions have open of their own.
func (e *Endpoint) ExtraSockets() (n int) {
	e.extras.Range(func(any, any) bool { n++; return true })
	return n
}

// PunchReport returns what has been tried against hard NATs.
func (s *Session) PunchReport() string {
	return look(s, s.punch.report)
}

// Attempt returns what names the attempt that established the session.
func (s *Session) Attempt() [16]byte {
	return look(s, func() [16]byte { return s.attempt })
}

// Wrapped returns what a read of the stream says when its flow has failed with err.
func (st *Stream) Wrapped(err error) error { return st.wrap("read", err) }

// OpenExtras opens n sockets for hard NATs, as far as that is possible, closes them, and returns how many there were and are.
func (e *Endpoint) OpenExtras(n int) (opened, left int) {
	var all []*extraSocket
	for range n {
		if x, err := e.openExtra(); err == nil {
			all = append(all, x)
		}
	}
	for _, x := range all {
		x.close()
		x.close()
	}
	return len(all), int(e.extraCount.Load())
}

// Suspend keeps the session's loop from running for so long, as if the process had been stopped.
func (s *Session) Suspend(d time.Duration) { s.post(func(time.Time) { time.Sleep(d) }) }

// Rounds returns how often the session's loop has looked for work.
func (s *Session) Rounds() int {
	return look(s, func() int { return s.counts.rounds })
}

// Leftovers returns what e still counts on behalf of sessions: sockets for hard NATs, attempts at getting through them,
// sessions that no path carries, and addresses let in at relays.
func (e *Endpoint) Leftovers() (extras, punching, outages, permitted int) {
	e.ground.mu.Lock()
	outages = e.ground.outages
	e.ground.mu.Unlock()
	return int(e.extraCount.Load()), int(e.punching.Load()), outages, e.Permitted()
}
