// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"time"

	"github.com/seed-98f0d4c2/runnel/flow"
	"github.com/seed-98f0d4c2/runnel/internal/portmap"
	"github.com/seed-98f0d4c2/runnel/internal/seal"
	"github.com/seed-98f0d4c2/runnel/internal/udp"
	"github.com/seed-98f0d4c2/runnel/internal/wire"
	"github.com/seed-98f0d4c2/runnel/mobility"
	"github.com/seed-98f0d4c2/runnel/signaling"
)

// A Config configures an [Endpoint]. The zero value is an endpoint with a fresh identity that no rendezvous knows of.
// A Config must not be modified after it has been passed to [Listen]. Where nothing else is said, a negative number
// means the same as zero.
type Config struct {
	// Key is the identity. Its public half is the endpoint's ID. If nil, a fresh one is made, which nobody can link
	// to an earlier session. See [signaling.LoadOrCreateKey].
	Key ed25519.PrivateKey

	// Signaler introduces this endpoint to its peers and advises it of STUN servers and relays. It must be
	// registered under Key. If nil, peers are dialled by known addresses or found by LAN only. Listen takes it over:
	// [Endpoint.Close] closes it. If it has a method NetworkChanged(), as [signaling.Client] does, that is called, and must
	// return at once, when this host's network has changed: a wrapper passes it on, or moves take until it notices itself.
	Signaler signaling.Signaler

	// ListenAddr is the local UDP address. If its port is zero the system chooses one. If its address is invalid,
	// one socket for each address family is opened on all interfaces.
	ListenAddr netip.AddrPort

	// Network opens sockets. If nil, the operating system does.
	Network Network

	// NetworkMonitor tells of changes of this host's network. If nil, Network does if it is a NetworkMonitor, and the
	// operating system if Network is nil. Without one a change is noticed by what it does to packets, which takes longer.
	NetworkMonitor NetworkMonitor

	// STUN lists STUN servers ("host:port") and Relays lists relays, in addition to those the Signaler advises.
	STUN   []string
	Relays []signaling.Relay

	// RelayTLS is used for relays with a "turns:" URL. If nil, the system's roots are trusted.
	RelayTLS *tls.Config

	// Authorize decides whether to talk to a peer. It is asked when a peer's signed offer arrives, before anything,
	// addresses included, is told to that peer. It may block until ctx ends; an error refuses the peer.
	// If nil, every peer is accepted.
	Authorize func(ctx context.Context, id ID) error

	// Addresses says which addresses of this host a peer may learn, and by which paths packets go to it. It is asked
	// once when a session with the peer begins, after Authorize, and whenever the peer is dialled or dials an address of
	// this host. Somebody who dials an address has yet to say who it is; the answer for the zero ID then decides
	// whether it learns that anybody is there. It must not block. If nil, [Direct] for everybody.
	Addresses func(id ID) AddressPolicy

	// Policy tunes the choice of paths. Its Battery is how the endpoint begins; see [Endpoint.SetBattery]. Its RelayOnly and
	// Allowed must not be set: that is what Addresses is for.
	Policy mobility.Policy

	// Loopback lets this endpoint offer and use loopback addresses, for peers on one machine. Peers ignore them
	// unless they are configured likewise.
	Loopback bool

	// LAN has peers on the local network found by multicast DNS: a dial asks there beside the rendezvous, or with none at
	// all, and this endpoint answers those who ask for it. Whoever is on that network and knows this endpoint's ID learns
	// its address there, before Authorize is asked; nobody else can tell whom a query or an answer is about, but that
	// somebody looks for a peer can be seen. Hence it is off unless wanted. A session that is established this way before
	// the rendezvous has answered has no ML-KEM in its keys, as with [Target].Addrs.
	//
	// Peers for whom Addresses says neither [Direct] nor [LANOnly] are not asked for, and strangers for whom it says neither
	// get no answer. It does nothing if Network is neither nil nor a [MulticastNetwork]. A peer that the rendezvous does not
	// know is looked for 2 s longer before a dial fails with ErrNotFound.
	LAN bool
	// NoPortMapping keeps the endpoint from asking the network's router, by PCP, NAT-PMP or UPnP, to forward its ports.
	// If false, the router is asked when the operating system is the Network and this host's IPv4 address on the way to
	// the internet is private, as at home: servers with public addresses do not ask, nor does an endpoint whose
	// ListenAddr is a loopback address. With Addresses, it waits for a peer that is [Direct]. A mapping forwards to
	// this endpoint's sockets alone, and ends with [Endpoint.Close]. After a crash it lasts for twenty minutes at most
	// routers, and for good at the few that grant nothing else.
	NoPortMapping bool

	// HandshakeTimeout bounds establishment. If zero, 15 s.
	HandshakeTimeout time.Duration

	// Linger is how long a session outlives the network: it ends, with ErrIdle, when nothing has been heard from the peer
	// for so long, although it was asked. Until then its flows, queues and receipts stay alive, writers are held up by
	// full buffers and by nothing else, and it goes on as soon as either end can reach the other. Time in which this process
	// was suspended does not end it before the peer has been asked. If zero, 2 min. If
	// negative, for ever: then a peer that is gone for good is not noticed.
	Linger time.Duration

	// KeepAlive is how long a session may be silent before the peer is asked for a sign of life, which also keeps
	// NAT mappings alive. If zero, 16 s; up to an eighth is added. Never more than half of Linger, nor less than a
	// second. If negative, never: then a session that is idle for longer than Linger ends, unless the peer asks.
	KeepAlive time.Duration

	// MaxMessage is the size in bytes of the largest message that a peer may send. If zero, 16 MiB.
	MaxMessage int

	// ReceiveWindow is how many bytes a flow may send ahead of its reader; SessionWindow bounds all flows of a
	// session together. A flow's window grows to MaxReceiveWindow if its reader is fast and the path is long. If zero,
	// the defaults of package flow are used.
	ReceiveWindow, MaxReceiveWindow, SessionWindow int

	// SessionSendBuffer is how many bytes may wait to be sent or acknowledged on all flows of a session together; see
	// [flow.Config]. If zero, 64 MiB.
	SessionSendBuffer int

	// Controller makes the congestion controller of each path: [flow.NewWeir], [flow.NewCUBIC] or [flow.NewReno]. If
	// nil, flow.NewWeir.
	Controller func(maxPacket int) flow.Controller

	// MaxSessions bounds the sessions of an endpoint, those being established included. If zero, 4096.
	MaxSessions int

	// MaxHandshakes bounds the sessions that peers may be establishing at one time. If zero, 64.
	MaxHandshakes int

	// Backlog is how many established sessions wait for [Endpoint.Accept]. Beyond it, peers are refused.
	// If zero, 128.
	Backlog int

	// MaxConcurrentCalls is how many handlers of calls run at one time (see [Endpoint.Handle]). If zero, 1024.
	MaxConcurrentCalls int

	// MaxSessionCalls is how many of them run for one peer. If zero, 256.
	//
	// Streaming calls last as long as the caller likes. So they take seven eighths of MaxConcurrentCalls at most, and a
	// peer that has one gets another only while it has less than a quarter as many as are left: of 1024 the first peer
	// gets 179, the next one 143, and it takes thirty to leave none. A streaming call beyond that is answered
	// [CallUnavailable] at once.
	MaxSessionCalls int

	// MaxQueuedCalls is how many more calls wait for a handler to end, those whose request has not arrived whole, and
	// those with an answer that the peer does not take, included. One peer may have a quarter of that waiting. Further
	// calls are answered [CallUnavailable]; so is one whose request has been arriving for more than 2 s when another
	// needs its place. If zero, 4096. If negative, none wait.
	MaxQueuedCalls int

	// MaxQueuedBytes bounds the requests that have arrived and wait for a handler, in bytes. One peer may have a quarter
	// of it waiting, and always one request. Further calls are answered [CallUnavailable]. If zero or less, 64 MiB.
	// Requests and responses of handlers that run come on top of it: MaxConcurrentCalls, MaxSessionCalls and MaxRequest
	// bound them.
	MaxQueuedBytes int

	// MaxRequest is the size in bytes of the largest request, and of the largest message on a stream of messages,
	// that reaches a handler. If zero, MaxMessage.
	MaxRequest int

	// Conditioner makes the network bad, for tests and trials. If nil, the network is as it is, and nothing is spent
	// on the question.
	Conditioner *Conditioner

	// Trace is asked for the hooks of each session, when its loop starts, and returns nil for none. It must not block.
	// If nil, nothing is traced, and nothing is spent on it.
	Trace func(SessionInfo) *Trace

	// EventLog opens a file for the events of a session: packets, losses, congestion, paths, flows and messages, as
	// qlog in JSON text sequences (.sqlog); see [EventLogDir] and docs/OPERATIONS.md. It is called when a session has
	// been established, or when one that this endpoint began has failed, with what has happened until then still to be
	// written; it may return nil for no log. A goroutine of the endpoint calls it, writes and closes the file. Sessions
	// never wait for it: events that come while more than 256 KiB of a session, or 16 MiB of all, wait to be written
	// are dropped, which the file says and [Stats].EventsDropped counts. [Endpoint.Close] does wait
	// for it, within its context and a second more; one file that is slow delays the others.
	// If nil, there are no event logs.
	EventLog func(SessionInfo) (io.WriteCloser, error)

	// Log receives structured logs. If nil, nothing is logged.
	Log *slog.Logger

	// gateway finds the router in place of the operating system; tests ask one of their own on a Network of their own.
	gateway func(ctx context.Context, v6 bool) (portmap.Gateway, error)
	// rekeyAfter is the number of packets after which keys are replaced; tests lower it.
	rekeyAfter uint64
	// proofKey signs proofs of identity in place of Key; tests mount an impostor with it.
	proofKey ed25519.PrivateKey
}

const (
	defaultHandshakeTimeout = 15 * time.Second
	defaultLinger           = 2 * time.Minute
	defaultKeepAlive        = 16 * time.Second
	defaultMaxSessions      = 4096
	defaultMaxHandshakes    = 64
	defaultBacklog          = 128

	defaultConcurrentCalls = 1024
	defaultSessionCalls    = 256
	defaultQueuedCalls     = 4096
	defaultQueuedBytes     = 64 << 20

	maxCalls = 1 << 29 // as good as no limit, and can be added up
)

// clone returns a copy of c with every default filled in.
func (c *Config) clone() (*Config, error) {
	var d Config
	if c != nil {
		d = *c
	}
	if d.Key == nil {
		_, key, err := ed25519.GenerateKey(nil)
		if err != nil {
			return nil, err
		}
		d.Key = key
	}
	if len(d.Key) != ed25519.PrivateKeySize {
		return nil, errors.New("peer: Config.Key is not an Ed25519 private key")
	}
	if d.Policy.RelayOnly || d.Policy.Allowed != nil {
		return nil, errors.New("peer: Config.Policy.RelayOnly and Allowed must not be set; set Config.Addresses")
	}
	if d.proofKey == nil {
		d.proofKey = d.Key
	}
	if d.Network == nil {
		d.Network = udp.OS{}
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	d.HandshakeTimeout = positive(d.HandshakeTimeout, defaultHandshakeTimeout)
	d.MaxSessions = positive(d.MaxSessions, defaultMaxSessions)
	d.MaxHandshakes = positive(d.MaxHandshakes, defaultMaxHandshakes)
	d.Backlog = positive(d.Backlog, defaultBacklog)
	d.MaxConcurrentCalls = min(positive(d.MaxConcurrentCalls, defaultConcurrentCalls), maxCalls)
	d.MaxSessionCalls = positive(d.MaxSessionCalls, defaultSessionCalls)
	d.MaxQueuedBytes = positive(d.MaxQueuedBytes, defaultQueuedBytes)
	if d.MaxQueuedCalls == 0 {
		d.MaxQueuedCalls = defaultQueuedCalls
	}
	d.MaxQueuedCalls = max(0, min(d.MaxQueuedCalls, maxCalls))
	if d.Linger == 0 {
		d.Linger = defaultLinger
	}
	if d.KeepAlive == 0 {
		d.KeepAlive = defaultKeepAlive
	}
	if d.Linger > 0 {
		d.KeepAlive = min(d.KeepAlive, d.Linger/2)
	}
	if m, ok := d.Network.(NetworkMonitor); ok && d.NetworkMonitor == nil {
		d.NetworkMonitor = m
	}
	return &d, nil
}

func positive[T ~int | ~int64](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}

// suites lists the AEADs this host offers, its favourite first.
func suites() []string {
	if seal.PreferAES() {
		return []string{seal.AES128GCM.String(), seal.ChaCha20Poly1305.String()}
	}
	return []string{seal.ChaCha20Poly1305.String(), seal.AES128GCM.String()}
}

// maxMessage is MaxMessage with its default.
func (c *Config) maxMessage() int { return positive(c.MaxMessage, wire.DefaultMaxMessage) }

// maxRequest is the largest request that reaches a handler.
func (c *Config) maxRequest() int { return positive(c.MaxRequest, c.maxMessage()) }
