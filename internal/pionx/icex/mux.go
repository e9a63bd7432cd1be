// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package icex

import (
	"errors"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/pionx/stunx"
)

// Errors of this package.
var (
	ErrConfig     = errors.New("icex: bad configuration")
	ErrClosed     = errors.New("icex: closed")
	ErrStarted    = errors.New("icex: agent already started")
	ErrCredential = errors.New("icex: malformed credentials of the peer")
	ErrCandidate  = errors.New("icex: unusable candidate")
	ErrTooMany    = errors.New("icex: too many candidates")
)

const (
	// maxPending bounds the requests of one agent whose response may still come, pendingTime how long it may take.
	maxPending  = 1024
	pendingTime = 5 * time.Second
	// maxPeerReflexive bounds the addresses that the peer may make us learn by sending checks from them.
	maxPeerReflexive = 12
)

// Mux shares an endpoint's sockets among agents. Its methods may be called from any goroutine.
type Mux struct {
	write func(b []byte, to netip.AddrPort) error
	local func() []netip.AddrPort

	requests, responses, unknown, overflow atomic.Uint64

	mu      sync.Mutex // never held while a function of somebody else is called
	closed  bool
	agents  map[string]*Agent // by our user fragment
	pending map[txID]pending
}

// txID is the transaction ID of a STUN message.
type txID [12]byte

// pending is a request that has been sent.
type pending struct {
	conn *conn
	to   netip.AddrPort
	at   time.Time
}

// NewMux makes a mux. write sends a datagram by the socket of the address's family; an error means that it was not
// sent, which agents treat like a loss. local returns the addresses that the endpoint can be reached by on its own
// networks, at least one for each family that it has a socket for. Both may be called from any goroutine and must not
// block for long.
func NewMux(write func(b []byte, to netip.AddrPort) error, local func() []netip.AddrPort) *Mux {
	return &Mux{write: write, local: local, agents: make(map[string]*Agent), pending: make(map[txID]pending)}
}

// MuxStats counts STUN messages that a mux was given.
type MuxStats struct {
	Requests  uint64 // connectivity checks that were handed to an agent
	Responses uint64 // responses that were handed to an agent
	Unknown   uint64 // messages that are not for any agent
	Overflow  uint64 // messages for an agent that is not keeping up, or from too many addresses
}

// Stats returns the counters.
func (m *Mux) Stats() MuxStats {
	return MuxStats{m.requests.Load(), m.responses.Load(), m.unknown.Load(), m.overflow.Load()}
}

// HandleSTUN takes a message from the network and reports whether it is for one of the agents. The bytes are copied.
// It never blocks: an agent that does not keep up loses messages, which are counted. Messages that are not sane (see
// stunx.Sane) are never for an agent.
func (m *Mux) HandleSTUN(b []byte, from netip.AddrPort) bool {
	from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	if from.Addr().Zone() != "" || !stunx.Sane(b) {
		m.unknown.Add(1)
		return false
	}
	var ok bool
	switch method, class := stunx.Type(b); {
	case method != stunx.Binding:
	case class == stunx.Request:
		ok = m.handleRequest(b, from)
	case class == stunx.Success || class == stunx.Failure:
		ok = m.handleResponse(b, from)
	}
	if !ok {
		m.unknown.Add(1)
	}
	return ok
}

func (m *Mux) handleRequest(b []byte, from netip.AddrPort) bool {
	name, ok := stunx.Username(b)
	ufrag, _, colon := strings.Cut(name, ":")
	if !ok || !colon {
		return false
	}
	m.mu.Lock()
	a := m.agents[ufrag]
	m.mu.Unlock()
	if a == nil {
		return false
	}
	c := a.conn(from.Addr())
	if c == nil {
		return false
	}
	if !a.admits(from) || !c.enqueue(b, from, false) {
		m.overflow.Add(1)
	} else {
		m.requests.Add(1)
	}
	return true
}

func (m *Mux) handleResponse(b []byte, from netip.AddrPort) bool {
	tx := txID(stunx.TransactionID(b))
	m.mu.Lock()
	p, ok := m.pending[tx]
	// RFC 8445 §7.2.5.2.1: a response from elsewhere is none. It does not use up the transaction either.
	if ok = ok && p.to == from && time.Since(p.at) < pendingTime; ok {
		delete(m.pending, tx)
	}
	m.mu.Unlock()
	if !ok {
		return false
	}
	if p.conn.enqueue(b, from, true) {
		m.responses.Add(1)
	} else {
		m.overflow.Add(1)
	}
	return true
}

// sent remembers a request, so that the response finds its way.
func (m *Mux) sent(b []byte, c *conn, to netip.AddrPort) {
	tx := txID(stunx.TransactionID(b))
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || m.agents[c.agent.ufrag] != c.agent {
		return
	}
	q := &c.agent.sentIDs
	for q.len() > 0 {
		if p, ok := m.pending[q.first()]; ok && q.len() < maxPending && now.Sub(p.at) < pendingTime {
			break
		}
		delete(m.pending, q.pop())
	}
	q.push(tx)
	m.pending[tx] = pending{conn: c, to: to, at: now}
}

// register gives the agent its place. The user fragment must be new.
func (m *Mux) register(a *Agent) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.closed:
		return ErrClosed
	case m.agents[a.ufrag] != nil:
		return ErrConfig
	}
	m.agents[a.ufrag] = a
	return nil
}

func (m *Mux) unregister(a *Agent) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.agents[a.ufrag] != a {
		return
	}
	delete(m.agents, a.ufrag)
	for a.sentIDs.len() > 0 {
		delete(m.pending, a.sentIDs.pop())
	}
}

// Close closes all agents; afterwards nothing is sent and no message is ours.
func (m *Mux) Close() error {
	m.mu.Lock()
	m.closed = true
	agents := make([]*Agent, 0, len(m.agents))
	for _, a := range m.agents {
		agents = append(agents, a)
	}
	m.mu.Unlock()
	var errs []error
	for _, a := range agents {
		errs = append(errs, a.Close())
	}
	return errors.Join(errs...)
}

// idQueue is a first-in first-out queue of transaction IDs. The zero value is empty.
type idQueue struct {
	ids  []txID
	head int
}

func (q *idQueue) len() int    { return len(q.ids) - q.head }
func (q *idQueue) first() txID { return q.ids[q.head] }

func (q *idQueue) push(id txID) {
	if q.head > maxPending {
		q.ids = append(q.ids[:0], q.ids[q.head:]...)
		q.head = 0
	}
	q.ids = append(q.ids, id)
}

func (q *idQueue) pop() txID {
	id := q.ids[q.head]
	q.head++
	return id
}
