// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package icex

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/pion/ice/v2"
	"github.com/pion/stun"
	"github.com/pion/transport/v2"

	"github.com/seed-98f0d4c2/runnel/internal/pionx/logx"
)

const (
	// MaxRemote is the number of remote candidates that an agent takes.
	MaxRemote = 20

	// calm is the interval of checks after the first burst, and the library's own idea of it.
	calm = 200 * time.Millisecond
	// keepalive is the interval of checks on the selected pair.
	keepalive = 2 * time.Second
	// disconnected and failed are how long a pair, or the search for one, may be silent. The session is the judge
	// of that; these only end what was forgotten.
	disconnected = 15 * time.Second
	failed       = 45 * time.Second
	// maxChecks is the number of checks after which a pair is given up. At the calm interval this takes minutes.
	maxChecks = 2000
)

// Config describes an agent.
//
// OnCheck and OnSelected are called from a goroutine of the agent, one call at a time. While one runs, further checks
// are merged by address, and dropped beyond 32. They may call any method of any agent, Close included; a call that had
// begun when Close returned may still be running.
type Config struct {
	// Mux carries the checks. Required.
	Mux *Mux
	// Controlling is the side that nominates: the one that made the offer. If both sides are, or neither, they
	// find out and one changes its mind (RFC 8445 §7.3.1.1).
	Controlling bool
	// Admit says with whom checks are exchanged; with others nothing is, not even an answer. It is called from any
	// goroutine and must not block. If nil, with everybody.
	Admit func(remote netip.AddrPort) bool
	// Log gets what the library logs, at debug level and sampled. Nil discards.
	Log *slog.Logger
	// OnCheck is called for connectivity checks that prove to come from the peer, by knowing our password. Those
	// that came before Start are reported then. May be nil.
	OnCheck func(from netip.AddrPort)
	// OnSelected is called when a pair has been selected, which may happen again when a better one is. May be nil.
	OnSelected func(remote netip.AddrPort)
}

// Agent looks for a path to one peer. Its methods may be called from any goroutine.
type Agent struct {
	cfg        Config
	ufrag, pwd string
	ice        *ice.Agent
	conns      [2]*conn // by family; nil without a socket for it
	events     events
	pace       pace
	wg         sync.WaitGroup

	sentIDs idQueue // belongs to Mux, under its lock

	closeOnce sync.Once
	closeErr  error

	mu      sync.Mutex
	started bool
	closed  bool
	remotes map[netip.AddrPort]bool // by signaling
	learned map[netip.AddrPort]bool // by authenticated checks
}

// NewAgent makes an agent with fresh credentials. It can be found by the peer's checks from then on. Close it.
func NewAgent(c *Config) (*Agent, error) {
	if c == nil || c.Mux == nil {
		return nil, fmt.Errorf("%w: Mux is required", ErrConfig)
	}
	a := &Agent{
		cfg:     *c,
		ufrag:   iceChars(8),
		pwd:     iceChars(32),
		remotes: make(map[netip.AddrPort]bool),
		learned: make(map[netip.AddrPort]bool),
	}
	a.events.onCheck, a.events.onSelected = c.OnCheck, c.OnSelected
	a.pace.agent = a
	for i, base := range bases(c.Mux.local()) {
		if base.IsValid() {
			a.conns[i] = newConn(a, base)
		}
	}
	if a.conns == [2]*conn{} {
		return nil, fmt.Errorf("%w: no local address", ErrConfig)
	}
	if err := a.build(); err != nil {
		return nil, fmt.Errorf("icex: %w", err)
	}
	if err := c.Mux.register(a); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return a, nil
}

// build makes the library's agent and lets it find its host candidates.
func (a *Agent) build() error {
	checks := uint16(maxChecks)
	// At once, even in the very moment of Start: the library asks for more than this.
	atOnce := time.Duration(-1)
	interval, alive, quiet, dead := calm, keepalive, disconnected, failed
	agent, err := ice.NewAgent(&ice.AgentConfig{
		NetworkTypes:           []ice.NetworkType{ice.NetworkTypeUDP4, ice.NetworkTypeUDP6},
		CandidateTypes:         []ice.CandidateType{ice.CandidateTypeHost},
		LocalUfrag:             a.ufrag,
		LocalPwd:               a.pwd,
		MulticastDNSMode:       ice.MulticastDNSModeDisabled,
		UDPMux:                 sockets{a},
		Net:                    nowhere{},
		IncludeLoopback:        true,
		DisableActiveTCP:       true,
		CheckInterval:          &interval,
		KeepaliveInterval:      &alive,
		DisconnectedTimeout:    &quiet,
		FailedTimeout:          &dead,
		MaxBindingRequests:     &checks,
		HostAcceptanceMinWait:  &atOnce,
		SrflxAcceptanceMinWait: &atOnce,
		PrflxAcceptanceMinWait: &atOnce,
		BindingRequestHandler:  a.handleCheck,
		LoggerFactory:          logx.Factory{Log: a.cfg.Log},
	})
	if err != nil {
		return err
	}
	a.ice = agent
	// The library keeps the handlers in an atomic.Value and never fails to.
	_ = agent.OnCandidate(func(ice.Candidate) {})
	_ = agent.OnSelectedCandidatePairChange(func(_, remote ice.Candidate) {
		if to, ok := candidateAddr(remote); ok {
			a.pace.stop()
			a.events.selected(to)
		}
	})
	if err := agent.GatherCandidates(); err != nil {
		return errors.Join(err, agent.GracefulClose())
	}
	return nil
}

// handleCheck is called by the library for each authenticated check, in its own loop. It returns whether the pair is
// to be selected at once, which is never.
func (a *Agent) handleCheck(_ *stun.Message, _, remote ice.Candidate, _ *ice.CandidatePair) bool {
	from, ok := candidateAddr(remote)
	if !ok {
		return false
	}
	a.mu.Lock()
	if !a.remotes[from] {
		a.learned[from] = true
	}
	a.mu.Unlock()
	a.events.check(from)
	return false
}

// admits reports whether a check from an address may be shown to the library, which would learn the address as a
// candidate if the check is authentic.
func (a *Agent) admits(from netip.AddrPort) bool {
	if a.cfg.Admit != nil && !a.cfg.Admit(from) {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.remotes[from] || a.learned[from] || len(a.learned) < maxPeerReflexive
}

func (a *Agent) conn(remote netip.Addr) *conn { return a.conns[family(remote)] }

// Credentials returns what the peer needs for its Start.
func (a *Agent) Credentials() (ufrag, pwd string) { return a.ufrag, a.pwd }

// Start begins to check, with the peer's credentials. It does not block. Checks of the peer are answered from now on;
// the last few that came earlier have been kept.
func (a *Agent) Start(remoteUfrag, remotePwd string) error {
	// RFC 8839 §5.4: ufrag 4–256 characters, pwd 22–256.
	if !isICEChars(remoteUfrag, 4) || !isICEChars(remotePwd, 22) {
		return ErrCredential
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.closed:
		return ErrClosed
	case a.started:
		return ErrStarted
	}
	a.started = true
	connect := a.ice.Accept
	if a.cfg.Controlling {
		connect = a.ice.Dial
	}
	a.wg.Go(func() {
		_, _ = connect(context.Background(), remoteUfrag, remotePwd) // ends with the selection or with Close
	})
	a.pace.burst()
	return nil
}

// AddRemote adds an address at which the peer may be reached. kind is "host", "srflx" or "prflx" and decides only
// which of several pairs that work is preferred. Addresses that are known are ignored; ErrTooMany is returned for
// more than MaxRemote, ErrCandidate for what cannot be sent to. It may be called before or after Start.
func (a *Agent) AddRemote(addr netip.AddrPort, kind string) error {
	addr = netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
	ip := addr.Addr()
	if !addr.IsValid() || addr.Port() == 0 || ip.IsUnspecified() || ip.IsMulticast() || ip.Zone() != "" {
		return fmt.Errorf("%w: %v", ErrCandidate, addr)
	}
	c, err := newCandidate(addr, kind)
	if err != nil {
		return fmt.Errorf("%w: %v %s: %w", ErrCandidate, addr, kind, err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.closed:
		return ErrClosed
	case a.remotes[addr]:
		return nil
	case len(a.remotes) >= MaxRemote:
		return ErrTooMany
	}
	a.remotes[addr] = true
	if err := a.ice.AddRemoteCandidate(c); err != nil { // does not block, and checks it at once
		return fmt.Errorf("icex: %w", err)
	}
	if a.started {
		a.pace.burst()
	}
	return nil
}

// Close ends the agent and leaves the mux. It may be called from OnCheck and OnSelected, of this agent or another.
func (a *Agent) Close() error {
	a.closeOnce.Do(func() {
		a.mu.Lock()
		a.closed = true
		a.mu.Unlock()
		a.events.close()
		a.pace.stop()
		a.cfg.Mux.unregister(a)
		// Graceful: it waits for the library's notifiers, which do no more than fill our events.
		if err := a.ice.GracefulClose(); err != nil {
			a.closeErr = fmt.Errorf("icex: %w", err)
		}
		a.wg.Wait()
	})
	return a.closeErr
}

// newCandidate makes a remote candidate for the library.
func newCandidate(addr netip.AddrPort, kind string) (ice.Candidate, error) {
	const component = ice.ComponentRTP // the first and only
	host, port := addr.Addr().String(), int(addr.Port())
	switch kind {
	case "host":
		return ice.NewCandidateHost(&ice.CandidateHostConfig{Network: "udp", Address: host, Port: port, Component: component})
	case "srflx":
		return ice.NewCandidateServerReflexive(&ice.CandidateServerReflexiveConfig{
			Network: "udp", Address: host, Port: port, Component: component,
		})
	case "prflx":
		return ice.NewCandidatePeerReflexive(&ice.CandidatePeerReflexiveConfig{
			Network: "udp", Address: host, Port: port, Component: component,
		})
	}
	return nil, errors.New("unknown kind")
}

func candidateAddr(c ice.Candidate) (netip.AddrPort, bool) {
	if c == nil {
		return netip.AddrPort{}, false
	}
	ip, err := netip.ParseAddr(c.Address())
	if err != nil {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(ip.Unmap(), uint16(c.Port())), true
}

// nowhere is the network of the library's agent: it has no interfaces, since all its candidates come from the mux.
type nowhere struct{ transport.Net }

func (nowhere) Interfaces() ([]*transport.Interface, error) { return nil, nil }

const iceAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

// iceChars returns n random ice-chars (RFC 8839 §5.1), of six bits each.
func iceChars(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	for i := range b {
		b[i] = iceAlphabet[b[i]&63]
	}
	return string(b)
}

func isICEChars(s string, least int) bool {
	if len(s) < least || len(s) > 256 {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '+', c == '/':
		default:
			return false
		}
	}
	return true
}
