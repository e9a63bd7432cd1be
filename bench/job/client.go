// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package job

import (
	"encoding/binary"
	"sync/atomic"
	"time"

	"github.com/seed-98f0d4c2/runnel/bench/figures"
)

// send is the client's part.
func (s *side) send() error {
	if err := s.ready(); err != nil {
		return err
	}
	r := Result{Start: now()}
	end := time.NewTimer(s.spec.WarmUp + s.spec.Duration)
	var over atomic.Bool
	var bytes, messages atomic.Uint64
	pinged := make(chan []float64, 1)
	if s.spec.Job == Ping {
		go func() { pinged <- s.ping(&over, r.Start+s.spec.WarmUp) }()
	} else {
		go s.flood(&over, &bytes, &messages)
	}
	voiced := make(chan int, 1)
	if s.voice != nil {
		go func() { voiced <- s.talk(r.Start) }()
	}
	<-end.C
	over.Store(true)
	r.End = now()
	r.Bytes, r.Messages = bytes.Load(), messages.Load()
	s.usage(&r)
	if s.spec.Job == Ping {
		micros := <-pinged
		r.MicrosP50, r.MicrosP99 = figures.Percentile(micros, 50), figures.Percentile(micros, 99)
		r.Messages = uint64(len(micros))
	}
	if s.voice != nil {
		r.Voice = &Voice{Sent: <-voiced}
	}
	return s.pipe.send(message{Kind: kindDone, Result: &r})
}

// flood sends as fast as it can. It may hang in Send when the time is over, which is nobody's concern then.
func (s *side) flood(over *atomic.Bool, bytes, messages *atomic.Uint64) {
	b := make([]byte, s.spec.Size)
	for !over.Load() {
		if err := s.main.Send(b); err != nil {
			if !over.Load() {
				s.fail("sending", err)
			}
			return
		}
		bytes.Add(uint64(len(b)))
		messages.Add(1)
	}
	_ = s.main.Flush() // the rest, if there is somebody left to take it
}

// manyPings is room for more round trips than there will be, so that none of them waits for memory.
const manyPings = 1 << 19

// ping sends one message after the other and returns how long each took to come back, in microseconds, from a time on.
// The other side's part is echo, a goroutine that reads and answers, for every transport.
func (s *side) ping(over *atomic.Bool, from time.Duration) []float64 {
	micros := make([]float64, 0, manyPings)
	b, buf := make([]byte, s.spec.Size), make([]byte, s.spec.Size)
	for !over.Load() {
		start := now()
		err := s.main.Send(b)
		if err == nil {
			err = s.main.Flush()
		}
		if err == nil {
			_, err = s.main.Recv(buf)
		}
		if err != nil {
			s.fail("pinging", err)
			return micros
		}
		if start >= from {
			micros = append(micros, float64(now()-start)/1e3)
		}
	}
	return micros
}

// talk sends voice until shortly before the end and returns how much. A message that cannot be sent when its time has come,
// because the one before is still waiting to be, is late from the beginning: its time counts from when it was due.
func (s *side) talk(start time.Duration) int {
	b := make([]byte, voiceSize)
	sent := 0
	for due := start + VoiceLead; due < start+s.spec.Duration-voiceTail; due += VoiceInterval {
		time.Sleep(due - now())
		stamp := now()
		if stamp > due+VoiceInterval {
			stamp = due // the scheduler is not that late
		}
		binary.BigEndian.PutUint64(b, uint64(sent))
		binary.BigEndian.PutUint64(b[8:], uint64(stamp))
		err := s.voice.Send(b)
		if err == nil {
			err = s.voice.Flush()
		}
		if err != nil {
			s.fail("talking", err)
			return sent
		}
		sent++
	}
	return sent
}
