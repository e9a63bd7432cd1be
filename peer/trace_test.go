// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-98f0d4c2/runnel/mobility"
	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/peer/peertest"
)

// A diary notes what the hooks of one session are told. The session's loop writes it; a test reads it when the session
// is over, or under the lock.
type diary struct {
	mu       sync.Mutex
	info     peer.SessionInfo
	stages   []string
	dropped  map[peer.DropReason]int
	got      int
	bytes    int
	paths    []peer.PathSwitched
	dead     []peer.PathsDead
	ended    []peer.Ended
	late     int // calls after Ended
	last     time.Time
	unsteady bool // time went backwards
}

// note is called by every hook.
func (d *diary) note(at time.Time, f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.ended) > 0 {
		d.late++
	}
	d.unsteady = d.unsteady || at.Before(d.last)
	d.last = at
	f()
}

func (d *diary) trace(info peer.SessionInfo) *peer.Trace {
	d.info, d.dropped = info, make(map[peer.DropReason]int)
	return &peer.Trace{
		StageReached:   func(e peer.StageReached) { d.note(e.Time, func() { d.stages = append(d.stages, e.Name) }) },
		PacketReceived: func(e peer.PacketReceived) { d.note(e.Time, func() { d.got++; d.bytes += e.Size }) },
		PacketDropped:  func(e peer.PacketDropped) { d.note(e.Time, func() { d.dropped[e.Reason]++ }) },
		PathSwitched:   func(e peer.PathSwitched) { d.note(e.Time, func() { d.paths = append(d.paths, e) }) },
		PathsDead:      func(e peer.PathsDead) { d.note(e.Time, func() { d.dead = append(d.dead, e) }) },
		Ended:          func(e peer.Ended) { d.note(e.Time, func() { d.ended = append(d.ended, e) }) },
	}
}

// check tells what no trace may look like, whatever happened. The session must have ended.
func (d *diary) check(t *testing.T, s *peer.Session) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.ended) != 1 || d.late != 0 || d.unsteady {
		t.Errorf("Ended was called %d times and other hooks %d times after it; times in order: %v", len(d.ended), d.late, !d.unsteady)
		return
	}
	if d.ended[0].Err != s.Err() {
		t.Errorf("ended with %v, and the session with %v", d.ended[0].Err, s.Err())
	}
	st := d.ended[0].Stats
	if uint64(d.got) != st.PacketsReceived || uint64(d.bytes) != st.BytesReceived {
		t.Errorf("traced %d packets, %d bytes received; stats say %d and %d", d.got, d.bytes, st.PacketsReceived, st.BytesReceived)
	}
	if uint64(len(d.paths)) != st.PathChanges {
		t.Errorf("traced %d changes of path; stats say %d", len(d.paths), st.PathChanges)
	}
	for why, n := range map[peer.DropReason]uint64{
		peer.DropForged: st.Forged, peer.DropReplayed: st.Replayed, peer.DropMalformed: st.Malformed,
	} {
		if uint64(d.dropped[why]) != n {
			t.Errorf("traced %d %s packets; stats say %d", d.dropped[why], why, n)
		}
	}
	var marks []string
	for _, m := range st.Timeline {
		marks = append(marks, m.Name)
	}
	if !slices.Equal(d.stages, marks) {
		t.Errorf("traced stages %v, the timeline says %v", d.stages, marks)
	}
}

func TestTraceOfASessionsLife(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var da, db diary
		var c peer.Conditioner
		n := peertest.New(t, &peertest.Config{OneWay: 5 * time.Millisecond, NoRelay: true})
		alice := n.Endpoint(peertest.Public, &peer.Config{Trace: da.trace, Conditioner: &c})
		bob := n.Endpoint(peertest.Public, &peer.Config{Trace: db.trace})
		a, b := meet(t, alice, bob)
		c.SetReceive(peer.Conditions{Corrupt: 0.2, Duplicate: 0.2, Seed: 1})
		transfer(t, a, b, 200)
		if err := a.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		<-b.Done()
		time.Sleep(10 * time.Second) // lingering is over
		synctest.Wait()
		da.check(t, a)
		db.check(t, b)
		if da.info.Peer != bob.ID() || da.info.Local != alice.ID() || !da.info.Dialled || db.info.Dialled {
			t.Errorf("the hooks were asked for with %+v and %+v", da.info, db.info)
		}
		if want := "start offer answer"; !strings.HasPrefix(strings.Join(da.stages, " "), "start offer") ||
			da.stages[len(da.stages)-1] != "ready" || da.got < 20 {
			t.Errorf("stages are %v, want %s … ready, and %d packets", da.stages, want, da.got)
		}
		if da.dropped[peer.DropForged] == 0 || da.dropped[peer.DropReplayed] == 0 {
			t.Errorf("dropped are %v, want some of damaged and doubled packets", da.dropped)
		}
	})
}

func TestTraceOfADialThatFails(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var d diary
		n := peertest.New(t, nil)
		alice := n.Endpoint(peertest.Public, &peer.Config{Trace: d.trace})
		stranger, err := alice.DialEarly(peer.Target{ID: n.Endpoint(peertest.Public, &peer.Config{
			Authorize: func(context.Context, peer.ID) error { return errors.New("no") },
		}).ID()})
		if err != nil {
			t.Fatal(err)
		}
		<-stranger.Done()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		d.check(t, stranger)
		if !errors.Is(d.ended[0].Err, peer.ErrRefused) {
			t.Errorf("ended with %v, want ErrRefused", d.ended[0].Err)
		}
	})
}

func TestTraceOfPaths(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var d diary
		n := peertest.New(t, &peertest.Config{OneWay: 10 * time.Millisecond})
		h := n.Host(peertest.PortRestricted)
		alice := h.Endpoint(&peer.Config{Trace: d.trace})
		a, b := meet(t, alice, n.Endpoint(peertest.PortRestricted, nil))
		transfer(t, a, b, 10)
		time.Sleep(5 * time.Second)
		h.SetDown(true)
		<-a.Done()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		d.check(t, a)
		if len(d.paths) > 0 && d.paths[0].To.Kind != mobility.Direct {
			t.Errorf("the path changed to %+v, want a direct one", d.paths[0].To)
		}
		if len(d.dead) == 0 {
			t.Error("nothing said that no path answers")
		}
	})
}
