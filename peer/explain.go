// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"net/netip"
	"time"

	"github.com/seed-98f0d4c2/runnel/mobility"
)

// A State is what has become of a session.
type State string

// The states.
const (
	StateEstablishing State = "establishing" // since it began
	StateDirect       State = "direct"       // packets travel by a direct path
	StateRelayed      State = "relayed"      // by a relay
	StateStalled      State = "stalled"      // no path answers, since the peer was last heard
	StateClosed       State = "closed"       // it was established, and is over
	StateFailed       State = "failed"       // it was never established
)

// An Explanation says why a session is as it is: which paths there are and could be, what has been tried and what came of
// it, what is known of the NATs, and what would help. Session.Explain makes it, and a [*DialError] has one.
//
// It is full of addresses, of this host and of the peer, and of what its relays are: no log of this package has it, and it
// is for whoever would be told them anyway. As JSON its fields keep their names from one version to the next; durations
// are in nanoseconds, the texts under "why", "remedy" and "error" are for humans. String makes a report of it.
type Explanation struct {
	Peer    ID        `json:"peer"`
	At      time.Time `json:"at"` // when this was found, or the session ended
	Born    time.Time `json:"born"`
	Dialled bool      `json:"dialled"` // this endpoint began it
	State   State     `json:"state"`
	Since   time.Time `json:"since"` // of State, as far as is known
	Stage   Stage     `json:"stage"` // of establishing it
	Error   string    `json:"error,omitempty"`
	Remedy  string    `json:"remedy,omitempty"` // what would help, in a sentence; none if the session is direct

	Policy string      `json:"policy"`          // the [AddressPolicy] in force here
	Path   *PathFacts  `json:"path,omitempty"`  // in use; nil before there is one
	Paths  []PathFacts `json:"paths,omitempty"` // every way to the peer that there is or was tried, the one in use first

	Local  []CandidateFacts `json:"local,omitempty"`  // where the peer was told to find us
	Remote []CandidateFacts `json:"remote,omitempty"` // where the peer says it is

	NAT         NATFacts        `json:"nat"`      // in front of this host, IPv4
	PeerNAT     NATFacts        `json:"peer_nat"` // in front of the peer, as it says, or as its addresses show
	STUN        []STUNFacts     `json:"stun,omitempty"`
	PortMapping []MappingFacts  `json:"port_mapping,omitempty"` // none: the router is not asked
	Relays      []RelayFacts    `json:"relays,omitempty"`       // of this endpoint
	Punches     []PunchFacts    `json:"punches,omitempty"`      // attempts to get through hard NATs, at most the last 8
	Decisions   []DecisionFacts `json:"decisions,omitempty"`    // of the path machine, at most the last 64
	Changes     []NetworkChange `json:"network_changes,omitempty"`
	Timeline    []MarkFacts     `json:"timeline"` // how establishing the session went

	Switches   uint64        `json:"switches"`
	Stalls     uint64        `json:"stalls"`
	StalledFor time.Duration `json:"stalled_for_ns"`
	MaxPacket  int           `json:"max_packet"` // bytes of UDP payload that the path is known to carry
	ECN        string        `json:"ecn"`        // testing, unknown, capable or failed: whether marks survive on the path

	cause   error // of Error
	offline bool  // this host has no address
}

// CandidateFacts is an address at which one side says it may be reached.
type CandidateFacts struct {
	Kind string         `json:"kind"` // host, srflx (as a STUN server sees it, or a router forwards it) or relay
	Addr netip.AddrPort `json:"addr"`
}

// A PathState says how a path does.
type PathState string

// The states of a path.
const (
	PathCurrent  PathState = "current"
	PathWorks    PathState = "works"     // it answers, and another one is better
	PathSilent   PathState = "silent"    // it has been tried, and does not answer, or not any more
	PathTrying   PathState = "trying"    // the answer is awaited
	PathUntried  PathState = "untried"   // it has not been its turn yet
	PathNotToUse PathState = "forbidden" // see Why
)

// PathFacts is a way to the peer, and what has come of it.
type PathFacts struct {
	State  PathState      `json:"state"`
	Kind   string         `json:"kind"` // direct or relayed
	Local  netip.AddrPort `json:"local,omitzero"`
	Remote netip.AddrPort `json:"remote"`
	Relay  string         `json:"relay,omitempty"` // ours, that it leads through
	Named  string         `json:"named,omitempty"` // the kind of the peer's candidate Remote; none if the peer has not named it
	Why    string         `json:"why"`             // it is in use, or is not

	Tried      time.Time     `json:"tried,omitzero"` // when the first challenge was sent
	LastTried  time.Time     `json:"last_tried,omitzero"`
	Challenges int           `json:"challenges"`
	Answers    int           `json:"answers"`
	RTT        time.Duration `json:"rtt_ns,omitempty"`
	Loss       float64       `json:"loss"` // 0 to 1
	Heard      time.Time     `json:"last_heard,omitzero"`
	BytesIn    uint64        `json:"bytes_in"`
	BytesOut   uint64        `json:"bytes_out"`

	checked bool // by ICE
	foreign bool // Remote is private, and of no network of this host
	key     mobility.Key
}

// NATFacts is what is known of a NAT.
type NATFacts struct {
	Mapping string `json:"mapping"` // unknown, endpoint-independent, address-dependent or udp blocked
	Ports   string `json:"ports"`   // unknown, preserved, sequential, random with parity or random
	Step    int    `json:"step,omitempty"`
	Guessed bool   `json:"guessed,omitempty"` // from the addresses it gives

	class mobility.NATClass
}

// STUNFacts is a STUN server, and how it sees this host.
type STUNFacts struct {
	Server netip.AddrPort `json:"server"`
	Mapped netip.AddrPort `json:"mapped,omitzero"` // not valid: it does not answer
}

// MappingFacts is what has become of asking the router to forward a port.
type MappingFacts struct {
	IPv6     bool           `json:"ipv6"`
	Gateway  netip.Addr     `json:"gateway,omitzero"`
	Protocol string         `json:"protocol"` // PCP, NAT-PMP, UPnP or none
	External netip.AddrPort `json:"external,omitzero"`
	Expires  time.Time      `json:"expires,omitzero"`
	Error    string         `json:"error,omitempty"`
}

// RelayFacts is a relay that this endpoint is advised of.
type RelayFacts struct {
	Host      string         `json:"host"`
	URL       string         `json:"url,omitempty"`    // that the allocation was made by
	Relayed   netip.AddrPort `json:"relayed,omitzero"` // our address there; not valid without an allocation
	Since     time.Time      `json:"since,omitzero"`   // of the allocation, the last one if there is none
	Error     string         `json:"error,omitempty"`  // the last
	FailedURL string         `json:"failed_url,omitempty"`
	FailedAt  time.Time      `json:"failed_at,omitzero"`
}

// PunchFacts is an attempt to get through hard NATs.
type PunchFacts struct {
	At  time.Time `json:"at"` // it ended
	Why string    `json:"why"`
}

// DecisionFacts is a decision about paths.
type DecisionFacts struct {
	At    time.Time `json:"at"` // the last time
	What  string    `json:"what"`
	Path  string    `json:"path"`
	Why   string    `json:"why"`
	Count int       `json:"count"` // how often in a row
}

// NetworkChange is a change of this host's network.
type NetworkChange struct {
	At    time.Time `json:"at"`
	Why   string    `json:"why"`
	Moved bool      `json:"moved"` // its addresses were others afterwards
}

// MarkFacts is when establishing the session reached a point, and how long after the one before.
type MarkFacts struct {
	Name string        `json:"name"` // as in [Mark]
	At   time.Duration `json:"at_ns"`
	Took time.Duration `json:"took_ns"`
}

// Explain says why the session is as it is. It waits for the session's loop, which asks the system
// for this host's addresses, for up to a millisecond: ask when something is to be explained, not all the time. After the
// session it says how things stood at its end. What is returned must not be modified.
func (s *Session) Explain() Explanation {
	x, ok := ask(s, s.explain)
	if !ok {
		s.mu.Lock()
		defer s.mu.Unlock()
		x = s.explained
	}
	return *x
}
