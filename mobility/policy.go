// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mobility

import "time"

// A Policy tunes the choice of path. The zero value suits most programs.
type Policy struct {
	// RelayOnly hides our addresses from the peer: only paths by our own relay allocations (Via > 0) are
	// challenged, answered and used. A path from our own socket is ignored even if it leads to the peer's relay,
	// because that relay shows our address to the peer.
	RelayOnly bool

	// Allowed, if not nil, says which paths may be challenged, answered and used, beside what RelayOnly forbids. It is
	// asked often and must answer from its argument alone; to change its mind there is [Machine.SetPolicy].
	Allowed func(Key) bool

	// Hysteresis is how much lower the round-trip time of a path must be before the session leaves a path of the
	// same kind for it. If zero, 20 ms; if negative, any difference counts. In any case the difference must be an
	// eighth of the time, so that jitter alone moves nothing.
	Hysteresis time.Duration

	// GoodRelay is the round-trip time up to which a relayed path is good enough to spare the network a birthday search
	// for a direct one, which is how a NAT with random ports is got through (see [Puncher]). If zero or negative, there
	// is a search whenever it may help.
	GoodRelay time.Duration

	// Battery lets an idle session by a direct path be silent for longer than 18 s, as long as its NATs bear it; see
	// [Machine.SetBattery].
	Battery bool
}

// A Config configures a [Machine]. Only Rand is required. It must not be modified after New.
type Config struct {
	Policy Policy

	// Rand fills b with bytes that no one can guess (crypto/rand.Read). Challenges are made of them, and jitter.
	Rand func(b []byte)

	// Unproven, if positive, says that the first path has brought so many bytes but has not been seen to carry any
	// there: whoever completed the handshake may have given a false address. It is challenged at once, and until it
	// answers its budget is that of any path without proof.
	Unproven int

	// Second says that the peer's machine is the one that pings an idle path, and this one only if no ping has come in time.
	// Of the two ends of a session one should say so, else they sometimes ping at the same time.
	Second bool

	// Keepalive is how long nothing may travel by the current path before a ping is sent; up to an eighth is added, in
	// part at random. NATs forget a mapping after 30 s of silence, some after 20 s. If zero, 16 s; if negative, no pings are
	// sent; never less than a second. In battery mode it is where learning begins.
	Keepalive time.Duration

	// Standby is the shortest time between challenges on a path that works and is only kept warm; up to a third is
	// added at random. If zero, 15 s; if negative, other paths than the current one are not kept warm; never less than
	// a second.
	Standby time.Duration
}

func (c *Config) hysteresis() time.Duration {
	return orDefault(c.Policy.Hysteresis, 20*time.Millisecond)
}
func (c *Config) keepalive() time.Duration { return interval(c.Keepalive, keepaliveBase) }
func (c *Config) standby() time.Duration   { return interval(c.Standby, 15*time.Second) }

// interval gives the interval of a Config its meaning; zero is never.
func interval(d, def time.Duration) time.Duration {
	if d < 0 {
		return 0
	}
	return max(orDefault(d, def), time.Second)
}

// orDefault gives a duration of a Config its meaning: zero is the default, negative is zero.
func orDefault(d, def time.Duration) time.Duration {
	if d == 0 {
		return def
	}
	return max(d, 0)
}

const (
	// MaxPaths is how many paths are remembered.
	MaxPaths = 16

	// challengeSize is what a packet with nothing but a challenge or a response takes, at most, in bytes:
	// header 13, chunk 10, tag 16, rounded up.
	challengeSize = 40

	keptChallenges = 6                // unanswered challenges remembered per path
	challengeLife  = 10 * time.Second // after which an answer is too late
	probeMin       = 100 * time.Millisecond
	probeMax       = 2 * time.Second
	unknownRTT     = 50 * time.Millisecond // assumed before the first measurement

	// Challenges to all paths together: a burst of probeBurst, and one each probeEvery after it.
	probeEvery = time.Second / 16
	probeBurst = 16

	candidateTries = 7 // 6 s with doubling intervals: both sides must have learned of each other's address
	followTries    = 5
	verifyTries    = 2
	standbyTries   = 3

	followEvery = time.Second // between validations of addresses the peer may have moved to
	doubtEvery  = time.Second // between verifications for a reason
	verifyEvery = 3 * time.Second

	// answerGap separates what we send by ourselves from acknowledgements and responses, which follow a received
	// packet sooner. Only the former waits for an answer.
	answerGap  = 150 * time.Millisecond
	silenceMin = 150 * time.Millisecond
	silenceMax = 3 * time.Second

	patienceMin  = 350 * time.Millisecond
	patienceMax  = 2 * time.Second
	verdictEvery = 25 * time.Millisecond
	deadMin      = time.Second
	togetherness = 10 * time.Millisecond // what is closer together happens at the same time
	graceMin     = 50 * time.Millisecond // for the current path to answer before another, when the ground has moved

	outageEvery = 200 * time.Millisecond // between challenges by the current path in an outage
	outageQuick = 2 * time.Minute        // after which it is every 2 s

	refuseWhile = time.Second // the current path must have brought something for a suspicious one to be refused
	maxWrongly  = 5
	maxDoubts   = 4

	dwell       = 5 * time.Second // between switches for a lower round-trip time
	fresh       = 5 * time.Second // older answers do not count when paths are compared
	steady      = time.Minute     // a path that has been current for so long has its failures forgiven
	maxHold     = time.Minute
	maxStandby  = 2 // paths kept warm
	maxActions  = 64
	maxReplies  = 16 // responses waiting to be polled
	unprovenAge = time.Minute
	provenAge   = 5 * time.Minute
	validAge    = 30 * time.Minute // of a path that has not been found dead: longer than standby challenges are apart
	lately      = 30 * time.Second
	renameEvery = 3 * time.Second       // between attempts at a candidate that is named again
	raceEvery   = 80 * time.Millisecond // between challenges by one path when everything is challenged
)
