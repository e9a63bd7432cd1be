// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package recovery

import "time"

const (
	// maxMTUProbes is how many probes of a size may be lost before it counts as too large. RFC 8899 §5.1.2.
	maxMTUProbes = 3

	// mtuRaise is after how long larger sizes are tried again. RFC 8899 §5.1.1, PMTU_RAISE_TIMER.
	mtuRaise = 10 * time.Minute

	// mtuRecover is after how long they are after a black hole that is not the first in mtuRaise. After the first they
	// are at once: a burst of losses looks the same, and a path that became smaller still carries more than the least.
	mtuRecover = 30 * time.Second

	// mtuHoles is how many large packets in a row must be lost to be taken for a black hole. RFC 8899 §4.3.
	mtuHoles = 6

	// mtuTraffic is how many nearly full packets must have arrived between probes: a path on which nothing large is
	// sent is not worth probing.
	mtuTraffic = 3

	// mtuRecent is how long ago the last of them may have.
	mtuRecent = time.Second

	// commonMTU is the UDP payload of a full Ethernet frame over IPv4; it is tried first.
	commonMTU = 1472
)

// mtuSizes are the sizes worth trying: the least IPv6 path, tunnels, Ethernet with IPv6 and IPv4, jumbo frames.
var mtuSizes = [...]int{1280, 1352, 1420, 1452, commonMTU, 2048, 4096, 8192, 8952, 16384, 32768}

// An mtu finds the largest packet a path carries, by packets that may be lost without harm. RFC 8899.
type mtu struct {
	base    int // what every path carries
	cap     int // what is worth trying
	current int // the largest packet to send

	tooLarge int     // sizes from here on are not to be tried for the time being
	size     int     // of the probe being tried; zero: none chosen
	tries    int     // probes of that size lost
	flying   bool    // one is in flight
	pn       uint64  // its number
	sentAt   instant // when it was sent
	again    instant // when to search again; zero: searching, or there is nothing to find

	full       int     // nearly full packets arrived since the last probe
	fullAt     instant // when the last of them did
	holes      int     // large packets lost since one arrived
	holePN     uint64  // the newest of those that made the last black hole
	holeAt     instant // when it was found; zero: never
	largeAcked uint64  // the newest large packet that arrived, and one; zero: none

	lost, blackHoles uint64 // ever
}

func newMTU(base, limit int) mtu {
	limit = max(limit, base)
	return mtu{base: base, cap: limit, current: base, tooLarge: limit + 1}
}

// probe returns the size to try now, or zero.
func (m *mtu) probe(now instant) int {
	if m.cap <= m.current || m.flying || m.full < mtuTraffic || now-m.fullAt > mtuRecent {
		return 0
	}
	if m.again != 0 {
		if now < m.again {
			return 0
		}
		m.again, m.tooLarge = 0, m.cap+1
	}
	if m.size <= m.current {
		m.choose(now)
	}
	return m.size
}

// choose picks a size between the largest known to pass and the least known not to, or ends the search.
func (m *mtu) choose(now instant) {
	m.tries = 0
	if m.current < commonMTU && m.tooLarge > commonMTU {
		m.size = commonMTU
		return
	}
	if m.tooLarge == m.cap+1 && m.cap <= commonMTU {
		m.size = m.cap
		return
	}
	n := 0
	for _, s := range mtuSizes {
		if s > m.current && s < m.tooLarge {
			n++
		}
	}
	// The limit itself is the last candidate, until it has been tried.
	if m.tooLarge > m.cap && m.cap > m.current {
		n++
	}
	if n == 0 {
		m.size, m.again = 0, now+mtuRaise
		return
	}
	m.size = m.cap
	k := n / 2 // above the middle
	for _, s := range mtuSizes {
		if s > m.current && s < m.tooLarge {
			if k == 0 {
				m.size = s
				return
			}
			k--
		}
	}
}

func (m *mtu) probeSent(now instant, pn uint64, size int) {
	m.flying, m.pn, m.sentAt, m.size, m.full = true, pn, now, size, 0
}

// probeAcked records that the probe arrived. It reports whether packets may be larger now.
func (m *mtu) probeAcked(size int) (raised bool) {
	m.flying, m.size, m.holes = false, 0, 0
	m.full = mtuTraffic // go on at once
	if size > m.current && size < m.tooLarge {
		m.current = size
		return true
	}
	return false
}

func (m *mtu) probeLost() {
	m.flying = false
	m.full = mtuTraffic
	m.lost++
	if m.tries++; m.tries >= maxMTUProbes {
		m.tooLarge, m.size = min(m.tooLarge, m.size), 0
	}
}

// acked records that a packet of size arrived. It reports whether packets may be larger now: one that was sent later
// than those that made a black hole shows that there is none.
func (m *mtu) acked(now instant, pn uint64, size int) (raised bool) {
	if size > m.base {
		m.largeAcked, m.holes = max(m.largeAcked, pn+1), 0
	}
	if 4*size >= 3*m.current {
		m.full++
		m.fullAt = now
	}
	if size <= m.current || size >= m.tooLarge || pn <= m.holePN || m.holeAt == 0 {
		return false
	}
	m.current, m.again = size, 0
	return true
}

// packetLost records a loss and reports whether packets must be smaller from now on.
func (m *mtu) packetLost(now instant, pn uint64, size int) (lowered bool) {
	if size <= m.base || pn < m.largeAcked {
		return false
	}
	if m.holes++; m.holes < mtuHoles {
		return false
	}
	return m.blackHole(now, pn)
}

// blackHole falls back to what every path carries. RFC 8899 §4.3. Silence is no black hole: of the two packets that a
// probe timeout sends one is no larger than that, see [mtu.limit].
func (m *mtu) blackHole(now instant, pn uint64) bool {
	if m.current <= m.base {
		return false
	}
	m.current, m.holes, m.size, m.full = m.base, 0, 0, 0
	m.again = now
	if m.holeAt != 0 && now-m.holeAt < mtuRaise {
		m.again = now + mtuRecover
	}
	m.holePN, m.holeAt = pn, now
	m.blackHoles++
	return true
}

// limit returns the largest packet to send now, if as many probes are to be sent. The last of a probe timeout gets
// through wherever anything does. If the one before it does too, it is not their size that makes packets vanish.
func (m *mtu) limit(probes int) int {
	if probes == 1 {
		return m.base
	}
	return m.current
}
