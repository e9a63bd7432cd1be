// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package job

import (
	"encoding/binary"
	"sync"
	"time"
)

// A receiver counts what comes.
type receiver struct {
	mu              sync.Mutex
	bytes, messages uint64
	first           time.Duration // arrival; 0 before it
	series          []uint64
	lag             []float64
}

// serve is the server's part.
func (s *side) serve() error {
	var r receiver
	switch {
	case s.spec.Job == Ping:
		go s.echo()
	case s.spec.Job == Messages || s.spec.Job == Buffered:
		go s.count(&r)
	default:
		go s.sink(&r)
	}
	if s.voice != nil {
		go s.listen(&r)
	}
	if err := s.ready(); err != nil {
		return err
	}
	started := now()
	m, err := s.await(kindStop)
	if err != nil {
		return err
	}
	res := Result{Start: started, End: now()}
	s.usage(&res)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.first > 0 {
		res.Start = r.first
	}
	res.Bytes, res.Messages = r.bytes, r.messages
	res.Series = r.series
	if s.voice != nil {
		res.Voice = &Voice{Sent: m.Sent.Voice.Sent, Lag: r.lag}
	}
	return s.pipe.send(message{Kind: kindResult, Result: &res})
}

// sink receives bulk.
func (s *side) sink(r *receiver) {
	buf := make([]byte, 256<<10)
	for {
		b, err := s.main.Recv(buf)
		if err != nil {
			return // the client has gone
		}
		at := now()
		r.mu.Lock()
		if r.first == 0 {
			r.first = at
		}
		i := int((at - r.first) / Step)
		for len(r.series) <= i {
			r.series = append(r.series, 0)
		}
		r.series[i] += uint64(len(b))
		r.bytes += uint64(len(b))
		r.messages++
		r.mu.Unlock()
	}
}

// count receives messages, and adds them up where that costs least.
func (s *side) count(r *receiver) {
	buf := make([]byte, 2<<20)
	every := uint64(1)
	if s.spec.Size < 64<<10 {
		every = 64
	}
	var bytes, messages uint64
	for {
		b, err := s.main.Recv(buf)
		if err != nil {
			return
		}
		bytes += uint64(len(b))
		messages++
		if messages%every == 0 || r.first == 0 {
			r.mu.Lock()
			if r.first == 0 {
				r.first = now()
			}
			r.bytes, r.messages = bytes, messages
			r.mu.Unlock()
		}
	}
}

// echo sends everything back.
func (s *side) echo() {
	buf := make([]byte, 64<<10)
	for {
		b, err := s.main.Recv(buf)
		if err != nil {
			return
		}
		if s.main.Send(b) != nil || s.main.Flush() != nil {
			return
		}
	}
}

// listen receives voice.
func (s *side) listen(r *receiver) {
	buf := make([]byte, 64<<10)
	for {
		b, err := s.voice.Recv(buf)
		if err != nil || len(b) != voiceSize {
			return
		}
		number := binary.BigEndian.Uint64(b)
		lag := now() - time.Duration(binary.BigEndian.Uint64(b[8:]))
		r.mu.Lock()
		for number < 1<<20 && len(r.lag) <= int(number) {
			r.lag = append(r.lag, -1)
		}
		r.lag[number] = float64(lag) / 1e6
		r.mu.Unlock()
	}
}
