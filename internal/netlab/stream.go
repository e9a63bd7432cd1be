// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package netlab

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

const (
	segmentSize   = 1400
	streamBuffer  = 256 << 10 // of each direction, at each end
	firstRTO      = time.Second
	minRTO        = 200 * time.Millisecond
	maxRTO        = 10 * time.Second // real ones wait longer; an outage then ends later
	streamTimeout = 2 * time.Minute
)

type streamPhase uint8

const (
	synSent streamPhase = iota
	synReceived
	streamOpen
	streamDead
)

// An unacked is a segment that is to be sent, or was and is not acknowledged.
type unacked struct {
	seq  uint64
	data []byte
	fin  bool
}

func (u *unacked) end() uint64 {
	if u.fin {
		return u.seq + uint64(len(u.data)) + 1
	}
	return u.seq + uint64(len(u.data))
}

// stream is one end of a TCP connection, a net.Conn.
type stream struct {
	host          *Host
	listener      *tcpListener // that it came by; nil: dialled
	local, remote netip.AddrPort
	read, write   deadline

	mu      sync.Mutex
	phase   streamPhase
	err     error         // why it is dead
	changed chan struct{} // closed and replaced when somebody may go on
	closed  bool          // by the user
	eof     bool          // the peer has sent everything

	sendNext uint64 // number of the next byte that is written
	queue    []unacked
	flying   int // how many of queue have been sent
	queued   int // bytes in queue
	window   int // of the peer
	repeats  int // of the last acknowledgement

	recvNext uint64
	ready    []byte             // to be read
	early    map[uint64]unacked // after a gap
	earlySum int

	began, heard time.Time // SYN sent; last progress, or begin of waiting for it
	rto, wait    time.Duration
	timer        *time.Timer
}

func newStream(h *Host, local, remote netip.AddrPort) *stream {
	s := &stream{
		host: h, local: local, remote: remote, changed: make(chan struct{}), sendNext: 1, window: streamBuffer,
		early: make(map[uint64]unacked), rto: firstRTO, wait: firstRTO,
	}
	s.read.reset()
	s.write.reset()
	return s
}

// A shipment is what a stream sends once it has let its lock go.
type shipment []struct {
	seg  segment
	data []byte
}

func (p *shipment) add(seg segment, data []byte) {
	*p = append(*p, struct {
		seg  segment
		data []byte
	}{seg, data})
}

func (s *stream) ship(p shipment) {
	for _, o := range p {
		s.host.sendTCP(s.local, s.remote, o.seg, o.data)
	}
}

// begin sends the first segment.
func (s *stream) begin() {
	s.mu.Lock()
	s.began = time.Now()
	s.heard = s.began
	if s.listener != nil {
		s.phase = synReceived
	}
	var p shipment
	s.greet(&p)
	s.timer = time.AfterFunc(s.wait, s.expire)
	s.mu.Unlock()
	s.ship(p)
}

func (s *stream) greet(p *shipment) {
	p.add(segment{syn: true, acks: s.phase == synReceived, ack: 1, window: streamBuffer}, nil)
}

func (s *stream) acknowledge(p *shipment) {
	p.add(segment{acks: true, seq: s.sendNext, ack: s.recvNext, window: s.room()}, nil)
}

// room is what the receive buffer can take.
func (s *stream) room() int { return max(0, streamBuffer-len(s.ready)) }

func (s *stream) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// await waits until the stream stands.
func (s *stream) await(ctx context.Context) error {
	for {
		s.mu.Lock()
		phase, err, changed := s.phase, s.err, s.changed
		s.mu.Unlock()
		switch phase {
		case streamOpen:
			return nil
		case streamDead:
			return err
		default:
		}
		select {
		case <-changed:
		case <-ctx.Done():
			s.kill(ctx.Err())
			return ctx.Err()
		}
	}
}

// kill ends the stream at this end, without a word to the other.
func (s *stream) kill(err error) {
	s.mu.Lock()
	first := s.phase != streamDead
	if first {
		s.phase, s.err, s.queue, s.early = streamDead, err, nil, nil
		if s.timer != nil {
			s.timer.Stop()
		}
		s.wake()
	}
	s.mu.Unlock()
	if first {
		s.read.stop()
		s.write.stop()
		s.host.tcp.remove(s)
	}
}

// reset ends the stream at both ends.
func (s *stream) reset() {
	s.host.sendTCP(s.local, s.remote, segment{rst: true}, nil)
	s.kill(syscall.ECONNRESET)
}

// expire is called by the timer: send again.
func (s *stream) expire() {
	s.mu.Lock()
	if s.phase == streamDead {
		s.mu.Unlock()
		return
	}
	if time.Since(s.heard) >= streamTimeout {
		s.mu.Unlock()
		s.kill(syscall.ETIMEDOUT)
		return
	}
	var p shipment
	if s.phase == streamOpen {
		s.flying = 0
		s.pump(&p)
	} else {
		s.greet(&p)
	}
	s.wait = min(2*s.wait, maxRTO)
	if s.phase != streamOpen || s.flying > 0 {
		s.timer.Reset(s.wait)
	}
	s.mu.Unlock()
	s.ship(p)
}

// pump sends what the window has room for, and one segment even if it has none.
func (s *stream) pump(p *shipment) {
	if s.phase != streamOpen {
		return
	}
	under := 0
	for i := range s.flying {
		under += len(s.queue[i].data)
	}
	for s.flying < len(s.queue) {
		u := &s.queue[s.flying]
		if s.flying > 0 && under+len(u.data) > s.window {
			return
		}
		if s.flying == 0 {
			if p := s.timer; p != nil {
				p.Reset(s.wait)
			}
		}
		under += len(u.data)
		s.flying++
		p.add(segment{acks: true, seq: u.seq, ack: s.recvNext, window: s.room(), fin: u.fin}, u.data)
	}
}

// handle takes a segment of the peer's.
func (s *stream) handle(seg *segment, data []byte) {
	var p shipment
	s.mu.Lock()
	end := s.step(seg, data, &p)
	s.mu.Unlock()
	s.ship(p)
	switch {
	case end == nil:
	case errors.Is(end, syscall.ENOBUFS): // nobody accepts
		s.reset()
	default:
		s.kill(end)
	}
}

// step returns why the stream is to end, or nil.
func (s *stream) step(seg *segment, data []byte, p *shipment) error {
	now := time.Now()
	switch {
	case s.phase == streamDead:
		return nil
	case seg.rst && s.phase == synSent:
		return syscall.ECONNREFUSED
	case seg.rst:
		return syscall.ECONNRESET
	case s.phase == synSent:
		if seg.syn && seg.acks {
			s.recvNext = 1
			s.stand(now, seg)
			s.acknowledge(p)
		}
		return nil
	case s.phase == synReceived:
		if seg.syn || !seg.acks {
			s.greet(p)
			return nil
		}
		s.stand(now, seg)
		if !s.listener.offer(s) {
			return syscall.ENOBUFS
		}
	case seg.syn: // our answer to theirs was lost
		s.acknowledge(p)
		return nil
	}
	s.acknowledged(now, seg, len(data) > 0 || seg.fin, p)
	if len(data) > 0 || seg.fin {
		if s.closed && len(data) > 0 {
			p.add(segment{rst: true}, nil)
			return syscall.ECONNRESET
		}
		s.store(unacked{seg.seq, data, seg.fin})
		s.acknowledge(p)
	}
	s.pump(p)
	if s.closed && s.eof && len(s.queue) == 0 {
		return errDone
	}
	return nil
}

// stand makes the stream an open one.
func (s *stream) stand(now time.Time, seg *segment) {
	s.phase, s.heard, s.window = streamOpen, now, seg.window
	s.rto = max(minRTO, 2*now.Sub(s.began))
	s.wait = s.rto
	s.timer.Stop()
	s.wake()
}

// acknowledged takes what a segment says of what was sent.
func (s *stream) acknowledged(now time.Time, seg *segment, more bool, p *shipment) {
	if !seg.acks {
		return
	}
	grown := seg.window > s.window
	s.heard, s.window = now, seg.window
	n := 0
	for n < len(s.queue) && s.queue[n].end() <= seg.ack {
		s.queued -= len(s.queue[n].data)
		n++
	}
	switch {
	case n > 0:
		s.queue = s.queue[n:]
		s.flying = max(0, s.flying-n)
		s.repeats, s.wait = 0, s.rto
		if s.flying > 0 {
			s.timer.Reset(s.wait)
		} else {
			s.timer.Stop()
		}
		s.wake()
	case s.flying > 0 && !more && !grown:
		if s.repeats++; s.repeats == 3 { // RFC 5681 §3.2
			u := &s.queue[0]
			p.add(segment{acks: true, seq: u.seq, ack: s.recvNext, window: s.room(), fin: u.fin}, u.data)
		}
	}
}

// store puts data where it belongs: to be read, or after the gap.
func (s *stream) store(u unacked) {
	if len(u.data) > s.room() || u.seq < s.recvNext {
		return
	}
	if u.seq > s.recvNext {
		if _, ok := s.early[u.seq]; !ok && s.earlySum+len(u.data) <= streamBuffer && len(s.early) < 1024 {
			s.early[u.seq] = u
			s.earlySum += len(u.data)
		}
		return
	}
	for ok := true; ok; {
		s.ready = append(s.ready, u.data...)
		s.recvNext = u.end()
		s.eof = s.eof || u.fin
		if u, ok = s.early[s.recvNext]; ok {
			delete(s.early, u.seq)
			s.earlySum -= len(u.data)
		}
	}
	s.wake()
}
