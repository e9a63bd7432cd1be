// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package signaling

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/seed-98f0d4c2/runnel/signaling/internal/rvproto"
)

// clientInbox is how many envelopes wait for Recv.
const clientInbox = 256

// A Client is a [Signaler] through a rendezvous server. It connects in the background and reconnects for as long as it is
// not closed; Send and Services wait for the connection. What it has sent and not seen acknowledged when a connection
// breaks is sent again on the next one, and the server keeps for 30 s what could not be delivered, so a short
// interruption loses nothing.
//
// It has two goroutines while it is connected, and one otherwise; [Client.NetworkChanged] starts two more for a moment.
type Client struct {
	url    *url.URL
	key    ed25519.PrivateKey
	id     PeerID
	config ClientConfig // with defaults

	closing context.Context //nolint:containedctx // done when Close is called: what waits in run takes a context
	close   context.CancelFunc
	done    chan struct{} // closed when run has ended; err is set by then
	err     error         // why run has ended

	inbox  chan Envelope
	window chan struct{} // an element for each request in flight

	ready chan struct{} // closed when services are known
	hurry chan struct{} // has an element when the next pause is to be left out

	checks  sync.WaitGroup // goroutines that a change of the network has started
	dialing chan struct{}  // full while a connection is made: a lock that may be held for long; taken before mu

	mu       sync.Mutex // guards the following
	conn     *clientConn
	pending  []*request // without a response, in order of seq
	seq      uint64     // of the last request
	resume   []byte     // the server's token for the session
	epoch    uint64     // of the registration
	seen     uint64     // last deliver of the session
	services Services
	known    bool // ready is closed
	stats    ClientStats

	attempt    *attempt    // the connection being made
	successor  *clientConn // registered, and waiting for run to serve it
	crossed    bool        // a registration was sent while another connection may have been alive
	checking   bool        // a goroutine does checks
	checkAgain bool        // and one is asked for
	checked    time.Time   // when the last one began
}

// ClientStats are counters of a [Client], for diagnosis.
type ClientStats struct {
	Connected bool
	Epoch     uint64 // of the registration: it grows with each
	Connects  uint64 // registrations that succeeded
	Resumed   uint64 // of those, how many continued the session before
	Dropped   uint64 // envelopes dropped because Recv was not called in time
	LastErr   error  // why the last connection or attempt ended; nil if none did
}

// A request is a send or a presence query under way.
type request struct {
	frame  *rvproto.Frame
	sentOn *clientConn // on which connection it was written last
	result string      // written before done is closed
	online bool
	done   chan struct{}
}

// NewClient returns a client of the rendezvous server at rawURL, such as wss://rendezvous.example (the path defaults to
// /v1), for the peer that holds key. It does not wait for the connection, and a server that cannot be reached is no error.
// c may be nil.
func NewClient(rawURL string, key ed25519.PrivateKey, c *ClientConfig) (*Client, error) {
	u, err := parseURL(rawURL)
	if err != nil {
		return nil, err
	}
	id := IDFromKey(key)
	if id.IsZero() {
		return nil, fmt.Errorf("%w: it is no private key", ErrKeyFile)
	}
	config, err := c.withDefaults(u)
	if err != nil {
		return nil, err
	}
	config.Log = config.Log.With(slog.String("server", u.Host), slog.String("self", id.Short()))
	if exposed(u) {
		config.Log.Warn("rendezvous without TLS: whoever is on the way can take the registration over")
	}
	cl := &Client{
		url:    u,
		key:    key,
		id:     id,
		config: config,
		done:   make(chan struct{}),
		inbox:  make(chan Envelope, clientInbox),
		window: make(chan struct{}, rvproto.Window),
		ready:  make(chan struct{}),
		hurry:  make(chan struct{}, 1),

		dialing: make(chan struct{}, 1),
	}
	cl.closing, cl.close = context.WithCancel(context.Background())
	go cl.run()
	return cl, nil
}

// ID returns the peer this is the client of.
func (c *Client) ID() PeerID { return c.id }

// Send implements [Signaler].
func (c *Client) Send(ctx context.Context, to PeerID, payload []byte) error {
	if len(payload) > MaxPayload {
		return ErrTooLarge
	}
	r, err := c.request(ctx, &rvproto.Frame{
		Type:    rvproto.TypeSend,
		To:      to.String(),
		Payload: slices.Clone(payload),
	})
	if err != nil {
		return err
	}
	return resultError(r.result)
}

// Online asks the server whether the peer could be sent to now. Peers that are unknown, offline or unwilling are all
// offline.
func (c *Client) Online(ctx context.Context, id PeerID) (bool, error) {
	r, err := c.request(ctx, &rvproto.Frame{Type: rvproto.TypePresence, To: id.String()})
	if err != nil {
		return false, err
	}
	return r.online, resultError(r.result)
}

func resultError(result string) error {
	switch result {
	case rvproto.ResultOK:
		return nil
	case rvproto.ResultNotFound:
		return ErrNotFound
	case rvproto.ResultRateLimited:
		return ErrRateLimited
	case rvproto.ResultTooLarge:
		return ErrTooLarge
	case rvproto.ResultBusy:
		return ErrBusy
	default:
		return fmt.Errorf("signaling: the server did not send it: %q", result)
	}
}

// request gives f a number, sends it as often as connections break, and waits for the response.
func (c *Client) request(ctx context.Context, f *rvproto.Frame) (*request, error) {
	if err := c.ended(); err != nil {
		return nil, err
	}
	select {
	case c.window <- struct{}{}:
		defer func() { <-c.window }()
	case <-c.closing.Done():
		return nil, c.wait()
	case <-c.done:
		return nil, c.err
	case <-ctx.Done():
		return nil, c.explain(ctx.Err())
	}

	r := &request{frame: f, done: make(chan struct{})}
	c.mu.Lock()
	c.seq++
	f.Seq = c.seq
	c.pending = append(c.pending, r)
	c.conn.wakeWriter()
	c.mu.Unlock()

	select {
	case <-r.done:
		return r, nil
	case <-c.done:
		return nil, c.err
	case <-ctx.Done():
	}
	c.mu.Lock()
	c.pending = slices.DeleteFunc(c.pending, func(p *request) bool { return p == r })
	c.mu.Unlock()
	select {
	case <-r.done: // at the same moment
		return r, nil
	default:
		return nil, c.explain(ctx.Err())
	}
}

// respond ends the request with the number seq, if it is still waiting.
func (c *Client) respond(seq uint64, result string, online bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.pending, func(r *request) bool { return r.frame.Seq == seq })
	if i < 0 {
		return
	}
	r := c.pending[i]
	c.pending = slices.Delete(c.pending, i, i+1)
	r.result, r.online = result, online
	close(r.done)
}

// explain adds to the error of a context why there is no connection, if there is none.
func (c *Client) explain(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.conn != nil:
		return fmt.Errorf("signaling: waiting for the rendezvous server's answer: %w", err)
	case c.stats.LastErr != nil:
		return fmt.Errorf("signaling: not connected to the rendezvous server: %w; last attempt: %w", err, c.stats.LastErr)
	}
	return fmt.Errorf("signaling: connecting to the rendezvous server: %w", err)
}

// Recv implements [Signaler].
func (c *Client) Recv(ctx context.Context) (Envelope, error) {
	select { // what is there wins over a context that is done
	case e := <-c.inbox:
		return e, nil
	default:
	}
	select {
	case e := <-c.inbox:
		return e, nil
	case <-c.done:
		return Envelope{}, c.err
	case <-ctx.Done():
		return Envelope{}, ctx.Err()
	}
}

// Services implements [Signaler]. While the server cannot be reached it returns what the server said last, which may
// have expired.
func (c *Client) Services(ctx context.Context) (Services, error) {
	if err := c.ended(); err != nil {
		return Services{}, err
	}
	select {
	case <-c.ready:
	default:
		select {
		case <-c.ready:
		case <-c.done:
			return Services{}, c.err
		case <-ctx.Done():
			return Services{}, c.explain(ctx.Err())
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.services.clone(), nil
}

// Stats returns the state of the client.
func (c *Client) Stats() ClientStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.Connected, s.Epoch = c.conn != nil, c.epoch
	return s
}

// Close implements [Signaler]. It tells the server, so that the peer is offline at once and not after the time the server
// waits for clients that vanished; it takes one round trip, and not more than a second.
func (c *Client) Close() error {
	c.close()
	<-c.done
	return nil
}

// ended returns why the client is of no use any more, or nil.
func (c *Client) ended() error {
	select {
	case <-c.done:
		return c.err
	default:
	}
	if c.closing.Err() != nil {
		return c.wait()
	}
	return nil
}

// wait returns why the client ended, when it has.
func (c *Client) wait() error {
	<-c.done
	return c.err
}
