// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mobility

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// A PunchOp says what a [PunchAction] is.
type PunchOp uint8

const (
	PunchOpen  PunchOp = iota + 1 // open the extra socket Slot
	PunchClose                    // close it
	PunchProbe                    // send a small packet of the session from Slot to Addr
	PunchAsk                      // ask the STUN server Addr from Slot, without retransmission, for HandleMapped
	PunchTell                     // send Msg to the peer over the session
	PunchTry                      // have the path machine challenge Addr from Slot, from where the peer was heard
	PunchDone                     // the attempt is over; Why says how it went
)

// A PunchAction is something the driver of a [Puncher] is to do. Slot 0 is the endpoint's own socket; others are extra
// sockets of this session, numbered by the puncher.
type PunchAction struct {
	Op   PunchOp
	Slot int
	Addr netip.AddrPort
	Msg  wire.Punch
	Why  string
}

// A PunchConfig configures a [Puncher]. Rand is required; zero values are the defaults, which are also the most that is
// possible.
type PunchConfig struct {
	Rand      func(b []byte) // fills b with random bytes
	Conductor bool           // exactly one of two peers is it
	Usable    func(netip.AddrPort) bool
	Sockets   int           // extra sockets; 256
	Probes    int           // in one attempt; 1500
	Rate      int           // probes in a second; 250
	GoodRelay time.Duration // no birthday search while the relayed path's round trip takes no longer; zero: always search
}

const (
	punchSockets = 256
	punchProbes  = 1500
	punchRate    = 250
	punchFloor   = 30 // probes in a second that distress leaves
	punchBurst   = 40

	// punchEach is how often a probe is sent on average over all attempts, beyond those of one: a peer can begin attempts, and
	// name another host each time.
	punchEach = 20 * time.Millisecond

	learnSockets = 6
	predicted    = 4 // sockets that a prediction is made for
	diagonal     = 32
	maxRounds    = 6
	maxHits      = 8
	searchBlock  = 16 // sockets opened between two looks at how the NAT bears it
	maxPlanned   = 512
	askTries     = 3
	maxReplied   = 8

	tellEvery   = 250 * time.Millisecond
	attemptLife = time.Minute     // others wait for their turn
	consentLife = 2 * time.Second // the peer must have said something, for packets to be sent to it
	helloTries  = 12
	joinEvery   = 30 * time.Second
	joinSoon    = 5 * time.Second // if the peer's address is another
	firstRetry  = time.Minute
	lastRetry   = time.Hour
	deafRetry   = 10 * time.Second // if the peer said nothing, the first times
	deafTries   = 3
	backAfter   = 10 * time.Second // between attempts of a session that does not stay direct

	hopelessRetry = 15 * time.Minute
)

type punchState uint8

const (
	punchIdle   punchState = iota
	punchLearn             // sockets have been opened to see by what rule ports are chosen
	punchHello             // the peer is to say what its NAT is
	punchRun               // packets are sent
	punchFailed            // until the next attempt
	punchWon               // the session is direct
)

// A Puncher finds a direct path between two peers whose NATs ICE alone does not get through. It is the peer of another
// one, to which it speaks by the session that a relay carries. docs/PROTOCOL.md, "Hard NATs", says what both do.
//
// It belongs to one goroutine. After every call drain Poll; call HandleTimeout at NextTimeout.
type Puncher struct {
	c     PunchConfig
	state punchState

	// What is known of here.
	class     NATClass
	low, high uint16
	addr      netip.AddrPort // of slot 0 as the internet sees it
	servers   []netip.AddrPort
	rtt       time.Duration // by way of the relay

	// The peer.
	peer     wire.Punch // its hello
	peerSaid bool
	lastPeer time.Time

	attempt  uint64
	began    time.Time
	retry    time.Duration // until the next attempt
	nextAt   time.Time     // of it
	nextJoin time.Time     // none that the peer begins before
	deaf     int           // attempts that the peer took no part in

	opened  map[int]bool
	samples map[int]sample // by slot, what STUN has said in this round
	asks    []ask

	status   wire.Punch // told again and again
	tellAt   time.Time
	tells    int
	replied  int
	deadline time.Time // of the state or the round

	plan   []planned // in the order of time
	tat    time.Time // of the next probe, by rate
	rate   int
	probes int
	poor   bool      // no more in this attempt
	spent  time.Time // theoretical arrival time of the next probe, over all attempts, see punchEach

	run      strategy
	round    uint64
	sampleAt time.Time // when the conductor is to look at its own ports
	ready    *wire.Punch
	mine     *wire.Punch
	fired    bool
	nextSlot int

	birthday search

	hits     []Key // Via is the slot
	hitAt    time.Time
	distress int

	actions []PunchAction
	report  string
}

type planned struct {
	at   time.Time
	slot int
	to   netip.AddrPort
}

type sample struct {
	local  uint16
	mapped netip.AddrPort
}

type ask struct {
	slot   int
	server netip.AddrPort
	again  time.Time // when to ask again, or to give up
	tries  int
	canary bool // silence means that the NAT is exhausted
}

// NewPuncher returns a puncher that does nothing yet. It panics if c.Rand is nil.
func NewPuncher(c *PunchConfig) *Puncher {
	if c == nil || c.Rand == nil {
		panic("mobility: PunchConfig.Rand is required")
	}
	p := &Puncher{c: *c, opened: make(map[int]bool), samples: make(map[int]sample), retry: firstRetry}
	within := func(v, most int) int {
		if v <= 0 || v > most {
			return most
		}
		return v
	}
	p.c.Sockets = within(c.Sockets, punchSockets)
	p.c.Probes = within(c.Probes, punchProbes)
	p.c.Rate = within(c.Rate, punchRate)
	if p.c.Usable == nil {
		p.c.Usable = func(netip.AddrPort) bool { return true }
	}
	p.low, p.high = 1024, 65535
	p.report = "hard NATs: nothing tried yet"
	return p
}

// SetLocal says what is known of the NAT here: how it maps, slot 0 as the internet sees it, the STUN servers that answer.
// During an attempt nothing is changed by it.
func (p *Puncher) SetLocal(mapping Mapping, addr netip.AddrPort, servers []netip.AddrPort) {
	if p.Active() {
		return // it holds for the next attempt
	}
	if p.class.Mapping != mapping {
		p.class = NATClass{Mapping: mapping}
	}
	p.addr, p.servers = addr, servers
}

// SetRTT says how long a round trip takes by the relay.
func (p *Puncher) SetRTT(rtt time.Duration) { p.rtt = rtt }

// Class returns what has been learnt of the NAT here.
func (p *Puncher) Class() NATClass { return p.class }

// Report returns a sentence on what the puncher has found out and done.
func (p *Puncher) Report() string { return p.report }

// Active reports whether an attempt is in progress.
func (p *Puncher) Active() bool {
	return p.state == punchLearn || p.state == punchHello || p.state == punchRun
}

// Start begins an attempt, if none is in progress or has failed lately.
func (p *Puncher) Start(now time.Time) {
	if p.state == punchIdle || p.state == punchWon || p.state == punchFailed && due(now, p.nextAt) {
		p.begin(now, p.attempt+1)
	}
}

// HandleNetworkChange forgets what has been learnt of the NAT here, and that attempts have failed.
func (p *Puncher) HandleNetworkChange(now time.Time) {
	p.class = NATClass{}
	p.low, p.high = 1024, 65535
	p.retry, p.deaf = firstRetry, 0
	if p.Active() {
		p.finish(now, "the network has changed", false)
	}
	p.nextAt = now
	if soonest := p.began.Add(joinSoon); soonest.After(now) {
		p.nextAt = soonest
	}
}

// HandleDirect says that the session has a direct path now: there is nothing more to do.
func (p *Puncher) HandleDirect(now time.Time) {
	if p.state == punchWon {
		return
	}
	was := p.Active()
	why := "the session is direct"
	if was && len(p.hits) > 0 {
		why = fmt.Sprintf("%s met: direct after %v and %d probes", p.run, now.Sub(p.began).Round(time.Millisecond), p.probes)
	}
	p.stop(now)
	p.state, p.retry = punchWon, firstRetry
	if was {
		p.report = "hard NATs: " + why
		p.push(PunchAction{Op: PunchDone, Why: why})
	}
}

// HandleRelayed says that the session is back on a relay.
func (p *Puncher) HandleRelayed(now time.Time) {
	if p.state == punchWon {
		p.state, p.nextAt = punchFailed, now
		if soonest := p.began.Add(backAfter); soonest.After(now) {
			p.nextAt = soonest
		}
	}
}

func (p *Puncher) begin(now time.Time, attempt uint64) {
	p.stop(now)
	for _, h := range p.hits { // kept since the last attempt, and of no use any more
		if p.opened[int(h.Via)] {
			p.close(int(h.Via))
		}
	}
	p.attempt, p.began = attempt, now
	p.hits, p.hitAt, p.distress, p.probes, p.rate = nil, time.Time{}, 0, 0, p.c.Rate
	p.peerSaid, p.tat, p.replied, p.poor = false, now, 0, false
	p.run, p.round, p.nextSlot = doNothing, 0, 0
	p.birthday = search{}
	p.status = wire.Punch{}
	if p.class.Ports == PortsUnknown && len(p.servers) > 0 &&
		(p.class.Mapping == MappingDependent || p.class.Mapping == MappingUnknown) {
		p.state = punchLearn
		clear(p.samples)
		for i := range learnSockets {
			p.open(i + 1)
			p.ask(now, i+1, false)
		}
		p.deadline = now.Add(2 * p.patience())
		return
	}
	p.sayHello(now)
}

// patience is how long an answer of a STUN server is waited for.
func (p *Puncher) patience() time.Duration { return max(2*p.rtt, 300*time.Millisecond) }

// learnt ends the learning of the rule by which ports are chosen.
func (p *Puncher) learnt(now time.Time) {
	var samples []PortSample
	for i := range learnSockets {
		if a, ok := p.samples[i+1]; ok {
			samples = append(samples, PortSample{a.local, a.mapped.Port()})
		}
	}
	p.class.Ports, p.class.Step = ClassifyPorts(samples)
	p.low, p.high = portRange(samples)
	p.asks = nil
	p.closeAll()
	p.sayHello(now)
}

func (p *Puncher) sayHello(now time.Time) {
	p.state = punchHello
	p.tells = 0
	p.deadline = time.Time{}
	p.status = p.message(wire.PunchHello)
	p.status.Addr = p.addr
	p.tell(now)
	if p.peerSaid {
		p.meet(now)
	}
}

func (p *Puncher) message(phase uint8) wire.Punch {
	return wire.Punch{
		Phase: phase, Attempt: p.attempt, Round: p.round, Mapping: uint8(p.class.Mapping), Ports: uint8(p.class.Ports),
		Stride: p.class.Step, Low: p.low, High: p.high,
	}
}

func (p *Puncher) tell(now time.Time) {
	p.push(PunchAction{Op: PunchTell, Msg: p.status})
	p.tells++
	p.tellAt = now.Add(tellEvery)
}

// finish ends an attempt that has led to nothing.
func (p *Puncher) finish(now time.Time, why string, say bool) {
	if say {
		p.push(PunchAction{Op: PunchTell, Msg: p.message(wire.PunchStop)})
	}
	p.stop(now)
	p.state = punchFailed
	p.nextAt = now.Add(p.retry)
	p.retry = min(2*p.retry, lastRetry)
	p.report = "hard NATs: " + why
	p.push(PunchAction{Op: PunchDone, Why: why})
}

// stop ends whatever is under way. Sockets on which the peer was heard stay open.
func (p *Puncher) stop(now time.Time) {
	p.plan, p.asks = nil, nil
	p.tellAt, p.deadline, p.sampleAt = time.Time{}, time.Time{}, time.Time{}
	p.ready, p.mine = nil, nil
	p.birthday = search{}
	p.nextJoin = now.Add(joinEvery)
	p.closeAll()
}

func (p *Puncher) push(a PunchAction) { p.actions = append(p.actions, a) }

// Poll returns the next action.
func (p *Puncher) Poll() (PunchAction, bool) {
	if len(p.actions) == 0 {
		p.actions = nil
		return PunchAction{}, false
	}
	a := p.actions[0]
	p.actions = p.actions[1:]
	return a, true
}

func (p *Puncher) random(n int) int {
	var b [8]byte
	p.c.Rand(b[:])
	return int(binary.BigEndian.Uint64(b[:]) % uint64(max(n, 1)))
}
