// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package recovery

import "time"

// minIdle is the least time without sending after which a window is thought less of.
const minIdle = time.Second

// initialWindow is what may be sent on a path of which nothing is known. RFC 9002 §7.2.
func initialWindow(maxPacket int) int { return min(10*maxPacket, max(14720, 2*maxPacket)) }

// window returns how many bytes may be in flight.
//
// A window that has not been used says little about the path: for every probe timeout of silence, or second if that
// is longer, half of it is taken away until it has been earned again, down to the initial window. RFC 8085 §3.1.1,
// RFC 9002 §7.8, RFC 2861 §3.
func (p *path) window(now instant) int {
	w := p.cc.Window()
	if p.trusted != 0 {
		w = min(w, p.trusted)
	}
	if p.inFlight == 0 && p.lastSent != 0 && now-p.lastSent >= minIdle {
		n := (now - p.lastSent) / max(p.rtt.pto(), minIdle)
		w = min(w, max(w>>min(n, 30), initialWindow(p.mtu.current)))
	}
	return w
}

// resume notes that a packet is sent, maybe after silence.
func (p *path) resume(now instant) {
	if p.inFlight == 0 && p.lastSent != 0 && now-p.lastSent >= minIdle {
		if w := p.window(now); w < p.cc.Window() {
			p.trusted = w
		}
	}
	p.lastSent = now
}

// earn restores trust in the window by what was delivered of it.
func (p *path) earn(bytes int) {
	if p.trusted != 0 {
		if p.trusted += bytes; p.trusted >= p.cc.Window() {
			p.trusted = 0
		}
	}
}
