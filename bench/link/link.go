// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package link

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed-98f0d4c2/runnel/bench/clock"
)

// A Config describes a link. Both directions are alike but for Loss.
type Config struct {
	Rate  float64       // bits a second, IP headers counted
	Delay time.Duration // one way
	Queue int           // bytes that wait; more are dropped
	Loss  [2]float64    // of packets sent by side 0 and by side 1, as a fraction
	Seed  uint64        // of the losses
	MTU   int           // if zero, 1500
}

// A Link carries packets between two sides until it is closed.
type Link struct {
	sides [2]*Side
	dirs  [2]*direction // by sending side
	stop  int           // an eventfd that ends both
	wg    sync.WaitGroup
}

// A direction is one queue and the thread that moves packets through it.
type direction struct {
	from, to int // descriptors of the two devices
	stop     int

	mu      sync.Mutex
	q       *Queue
	samples []Sample
	foreign uint64
	late    uint64
}

// A Sample is a packet that began to be sent.
type Sample struct {
	At   time.Duration // on the clock of package clock
	Size int
	Wait time.Duration // in the buffer
}

// Stats are the counts of one direction.
type Stats struct {
	Sent, Dropped, Lost uint64 // packets: put on the wire, found no room in the buffer, lost on the wire
	Foreign             uint64 // not IPv4, and gone no further
	Late                uint64 // delivered more than Tolerance after they should have been: this machine is too busy
}

// Tolerance is how late a packet may be delivered without being counted in Stats.Late.
const Tolerance = 2 * time.Millisecond

// New makes two namespaces and the link between them.
func New(cfg Config) (*Link, error) {
	if cfg.MTU == 0 {
		cfg.MTU = 1500
	}
	if cfg.Rate <= 0 {
		return nil, errors.New("link: a link needs a rate")
	}
	stop, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("link: %w", err)
	}
	l := &Link{stop: stop}
	for i := range l.sides {
		l.sides[i], err = newSide(netip.AddrFrom4([4]byte{10, 77, 0, byte(i + 1)}), cfg.MTU)
		if err != nil {
			if i == 1 {
				l.sides[0].close()
			}
			_ = unix.Close(stop)
			return nil, err
		}
	}
	for i := range l.dirs {
		d := &direction{
			from: l.sides[i].tun, to: l.sides[1-i].tun, stop: stop,
			q: NewQueue(cfg.Rate, cfg.Delay, cfg.Queue, cfg.Loss[i], cfg.Seed+uint64(i)),
		}
		d.q.Passed = func(at time.Duration, size int, wait time.Duration) {
			d.samples = append(d.samples, Sample{at, size, wait})
		}
		l.dirs[i] = d
		l.wg.Go(d.run)
	}
	return l, nil
}

// Side returns side 0 or 1.
func (l *Link) Side(i int) *Side { return l.sides[i] }

// SetRate changes the rate of both directions. The buffers keep their size in bytes.
func (l *Link) SetRate(rate float64) {
	for _, d := range l.dirs {
		d.mu.Lock()
		d.q.SetRate(clock.Now(), rate)
		d.mu.Unlock()
	}
}

// Samples returns all packets that side i has put on the wire.
func (l *Link) Samples(i int) []Sample {
	d := l.dirs[i]
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]Sample(nil), d.samples...)
}

// Stats returns the counts of packets sent by side i.
func (l *Link) Stats(i int) Stats {
	d := l.dirs[i]
	d.mu.Lock()
	defer d.mu.Unlock()
	return Stats{d.q.Sent, d.q.Dropped, d.q.Lost, d.foreign, d.late}
}

// Close takes the link down. Processes on its sides are killed if they have Pdeathsig set, and cut off otherwise.
func (l *Link) Close() {
	var one [8]byte
	one[0] = 1
	_, _ = unix.Write(l.stop, one[:])
	l.wg.Wait()
	for _, s := range l.sides {
		s.close()
	}
	_ = unix.Close(l.stop)
}

// run moves packets until stop is readable. It keeps a thread to itself: the runtime's timers are a millisecond coarse,
// ppoll is not.
func (d *direction) run() {
	runtime.LockOSThread() // and never unlocked, so that the thread's privileges end with it
	// Before everything else on the machine, where it may: the link is to be as fast as it says however busy its users are.
	_ = unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}, 0)
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0) // nanoseconds instead of 50 µs, where it may
	buf := make([]byte, 1<<16)
	fds := []unix.PollFd{{Fd: int32(d.from), Events: unix.POLLIN}, {Fd: int32(d.stop), Events: unix.POLLIN}}
	for {
		d.mu.Lock()
		at, ok := d.q.Next()
		d.mu.Unlock()
		var timeout *unix.Timespec
		if ok {
			ts := unix.NsecToTimespec(int64(max(0, at-clock.Now())))
			timeout = &ts
		}
		if _, err := unix.Ppoll(fds, timeout, nil); err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
		if fds[1].Revents != 0 {
			return
		}
		d.take(buf)
		d.deliver()
	}
}

// take reads what the sending side has put into its device.
func (d *direction) take(buf []byte) {
	for {
		n, err := unix.Read(d.from, buf)
		if err != nil || n == 0 {
			return
		}
		now := clock.Now()
		d.mu.Lock()
		if buf[0]>>4 == 4 {
			d.q.Push(now, append([]byte(nil), buf[:n]...))
		} else {
			d.foreign++
		}
		d.mu.Unlock()
	}
}

// deliver writes what has arrived into the device of the receiving side.
func (d *direction) deliver() {
	for {
		d.mu.Lock()
		now := clock.Now()
		data, due := d.q.Pop(now)
		if data != nil && now-due > Tolerance {
			d.late++
		}
		d.mu.Unlock()
		if data == nil {
			return
		}
		_, _ = unix.Write(d.to, data) // a device that is going down drops
	}
}
