// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/seed-98f0d4c2/runnel/mobility"
	"github.com/seed-98f0d4c2/runnel/signaling"
)

// stillLooking is how long after a session is established a direct path may well be found yet.
const stillLooking = 5 * time.Second

// stunTime is after which a STUN server that has not answered is taken not to.
const stunTime = 3 * time.Second

// remedy says what would help, in a sentence, or nothing.
func (x *Explanation) remedy() string {
	switch x.State {
	case StateFailed:
		return x.remedyFailed()
	case StateStalled:
		return x.remedyStalled()
	case StateRelayed:
		return x.remedyRelayed()
	case StateClosed:
		if errors.Is(x.cause, ErrIdle) {
			return x.remedyStalled()
		}
	}
	return ""
}

func (x *Explanation) remedyFailed() string {
	switch {
	case errors.Is(x.cause, ErrNotFound):
		return "Nobody is registered under this ID: check it, and that the peer runs and uses the same rendezvous."
	case errors.Is(x.cause, ErrRefused):
		return "The peer does not want to talk to this ID: have it allowed there."
	case errors.Is(x.cause, ErrIdentity):
		return "Whoever answered does not have the key of this ID: check the ID and the address."
	case errors.Is(x.cause, errCanceled):
		return "The dial was given up before it had an outcome: give it more time."
	case x.Stage == StageSignaling && x.marked("delivered"):
		return "The rendezvous has delivered the offer, but the peer has not answered: see whether it is alive and its clock is right."
	case x.Stage == StageSignaling && x.marked("offer"):
		return "The offer was not delivered: check the rendezvous and this host's way to it (runnel doctor), or the address dialled."
	case x.Stage == StagePath:
		return x.remedyUnreachable()
	case x.Stage == StageHandshake && errors.Is(x.cause, context.DeadlineExceeded):
		return "Packets get through, but too few or too slowly to agree on keys: look at loss and packet sizes on the way."
	}
	return ""
}

// remedyUnreachable is for peers that have exchanged addresses and found no path.
func (x *Explanation) remedyUnreachable() string {
	switch {
	case x.Policy == LANOnly.String():
		return "The address policy allows the local network only, and the peer is not on it."
	case x.Policy != Direct.String() && !has(x.Local, signaling.CandidateRelay):
		return "The address policy allows relays only, and there is none" + x.relayTrouble() + ": have the rendezvous advise a relay that works."
	case !has(x.Local, signaling.CandidateRelay) && !has(x.Remote, signaling.CandidateRelay):
		return "There is no direct path, and neither side has a relay" + x.relayTrouble() + ": run one, and have the rendezvous advise it."
	case (x.NAT.class.Mapping == mobility.MappingBlocked || x.deaf()) && !has(x.Local, signaling.CandidateRelay):
		return "UDP does not leave this network, and no relay is reached" + x.relayTrouble() + ": allow UDP, or serve TURN by TLS on port 443."
	}
	return "Neither a direct path nor a relay carries packets both ways: check that the relay accepts both sides (runnel doctor)."
}

func (x *Explanation) remedyStalled() string {
	switch {
	case x.offline:
		return "This host has no address that it could be reached at: connect it to a network."
	case x.deaf():
		return "No STUN server answers this host either: its own network is down, or has begun to block UDP."
	}
	return "This host's network works, but nothing comes back from the peer: its network is down, or it is gone."
}

func (x *Explanation) remedyRelayed() string {
	here, there := x.NAT.class, x.PeerNAT.class
	dependent := func(c mobility.NATClass) bool { return c.Mapping == mobility.MappingDependent }
	random := func(c mobility.NATClass) bool {
		return dependent(c) && (c.Ports == mobility.PortsRandom || c.Ports == mobility.PortsParity)
	}
	const help = "enable port mapping (UPnP, NAT-PMP or PCP) on one router, or use IPv6"
	switch {
	case x.Policy == DirectAfterAccept.String():
		return "The address policy waits for Session.AllowDirect."
	case x.Policy != Direct.String():
		return "The address policy for this peer is " + x.Policy + ": with direct a better path could be used."
	case len(x.Remote) > 0 && !has(x.Remote, signaling.CandidateHost) && !has(x.Remote, signaling.CandidateSrflx):
		return "The peer tells none of its own addresses: its address policy hides them, or UDP does not leave its network."
	case here.Mapping == mobility.MappingBlocked || x.deaf():
		return "UDP does not leave this network: allow it in the firewall."
	case there.Mapping == mobility.MappingBlocked || len(x.Remote) > 0 && !has(x.Remote, signaling.CandidateSrflx) && !x.public(x.Remote):
		return "No STUN server has told the peer its address: allow UDP in its firewall."
	case x.At.Sub(x.Since) < stillLooking:
		return "A direct path is still being looked for: ask again in some seconds."
	case random(here) && random(there):
		return "Both NATs give every destination a random port: " + help + "."
	case dependent(here) && dependent(there):
		return "Both NATs give every destination a port of its own: " + help + "."
	case dependent(here):
		return "This host's NAT gives every destination a port of its own, and the peer's lets nobody else in: " + help + "."
	case dependent(there):
		return "The peer's NAT gives every destination a port of its own, and this host's lets nobody else in: " + help + "."
	case here.Mapping == mobility.MappingUnknown || there.Mapping == mobility.MappingUnknown:
		return "It is not known how the NATs map: have the rendezvous advise a second STUN address (relay --stun-listen)."
	}
	return "Neither NAT is of the hard kind: a firewall between the two drops UDP; allow it, or forward a port."
}

// relayTrouble says what is wrong with the relays, in brackets.
func (x *Explanation) relayTrouble() string {
	for _, r := range x.Relays {
		if r.Error != "" && !r.Relayed.IsValid() {
			return " (" + r.Host + ": " + r.Error + ")"
		}
	}
	return ""
}

// deaf says whether no STUN server answers, though there was time for it.
func (x *Explanation) deaf() bool {
	answers := slices.ContainsFunc(x.STUN, func(s STUNFacts) bool { return s.Mapped.IsValid() })
	return len(x.STUN) > 0 && !answers && x.At.Sub(x.Born) >= stunTime
}

func (x *Explanation) marked(name string) bool {
	return slices.ContainsFunc(x.Timeline, func(m MarkFacts) bool { return m.Name == name })
}

// public says whether a host address among some needs no STUN server to be known.
func (x *Explanation) public(list []CandidateFacts) bool {
	return slices.ContainsFunc(list, func(c CandidateFacts) bool {
		return c.Kind == signaling.CandidateHost && c.Addr.Addr().IsGlobalUnicast() && !c.Addr.Addr().IsPrivate()
	})
}

func has(list []CandidateFacts, kind string) bool {
	return slices.ContainsFunc(list, func(c CandidateFacts) bool { return c.Kind == kind })
}
