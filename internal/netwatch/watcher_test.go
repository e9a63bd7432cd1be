// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package netwatch

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A fake is a source that a test feeds.
type fake struct {
	event chan error // nil: something may have changed
	done  chan struct{}
	once  sync.Once

	mu    sync.Mutex
	state State
	err   error
	reads int
}

func newFake(s State) *fake {
	return &fake{event: make(chan error), done: make(chan struct{}), state: s}
}

func (f *fake) next() error {
	select {
	case err := <-f.event:
		return err
	case <-f.done:
		return net.ErrClosed
	}
}

func (f *fake) drain(d time.Duration) error {
	for end := time.After(d); ; {
		select {
		case <-f.event:
		case <-end:
			return nil
		case <-f.done:
			return net.ErrClosed
		}
	}
}

func (f *fake) read() (State, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads++
	return f.state.clone(), f.err
}

func (f *fake) close() { f.once.Do(func() { close(f.done) }) }

// set changes the network and reports it.
func (f *fake) set(s State) {
	f.mu.Lock()
	f.state = s
	f.mu.Unlock()
	f.event <- nil
}

func (f *fake) open() (source, error) { return f, nil }

// watch joins hubs of the test's own.
func watch(t *testing.T, f *fake) *Watcher {
	t.Helper()
	var s hubs
	w := s.join("", slog.New(slog.DiscardHandler), f.open)
	t.Cleanup(func() { s.leave(w) })
	return w
}

// pending waits until what was reported has been read, and says whether there is a change to tell.
func pending(w *Watcher) bool {
	time.Sleep(maxSettle)
	synctest.Wait()
	return len(w.wake) > 0
}

var (
	home  = state(on("eth0", "10.0.0.2")).by("eth0", "10.0.0.1", "10.0.0.2")
	cafe  = state(on("wlan0", "192.168.7.7")).by("wlan0", "192.168.7.1", "192.168.7.7")
	alone = State{}
)

func TestWaitChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(home)
		w := watch(t, f)
		if d := w.Snapshot().Diff(home); d != "" {
			t.Errorf("the snapshot differs: %s", d)
		}
		start := time.Now()
		go f.set(cafe)
		if err := w.WaitChange(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took > 10*time.Millisecond {
			t.Errorf("told after %v, want 10 ms at most: a session waits for it", took)
		}
		if got, want := w.Change(), "eth0 lost 10.0.0.2; wlan0 got 192.168.7.7; default route is now by wlan0"; got != want {
			t.Errorf("change %q, want %q", got, want)
		}
		if d := w.Snapshot().Diff(cafe); d != "" {
			t.Errorf("the snapshot differs: %s", d)
		}
		if pending(w) {
			t.Error("one change is told twice")
		}
	})
}

func TestChangesMerge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(home)
		w := watch(t, f)
		for _, s := range []State{alone, cafe, home} { // as it was in the end: sockets and mappings may not be
			f.set(s)
			time.Sleep(time.Second)
		}
		if err := w.WaitChange(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(w.Change(), ";"); got < 4 {
			t.Errorf("change %q, want all that happened", w.Change())
		}
		if pending(w) {
			t.Error("told twice, want once for all that came before")
		}
		for range 100 {
			f.set(cafe)
			time.Sleep(time.Second)
			f.set(home)
			time.Sleep(time.Second)
		}
		_ = w.WaitChange(t.Context())
		if n := len(w.Change()); n > maxPending {
			t.Errorf("a sentence of %d bytes for one who did not listen, want %d at most", n, maxPending)
		}
	})
}

func TestIrrelevantReportsAreRare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(home)
		w := watch(t, f)
		for range 10_000 { // a host of containers, for ten seconds
			f.event <- nil
			time.Sleep(time.Millisecond)
		}
		if pending(w) {
			t.Errorf("told of %q", w.Change())
		}
		f.mu.Lock()
		reads := f.reads
		f.mu.Unlock()
		if reads > 60 {
			t.Errorf("read %d times in 10 s, want every 200 ms: each costs some system calls", reads)
		}
		time.Sleep(calm)
		start := time.Now()
		go f.set(cafe)
		_ = w.WaitChange(t.Context())
		if took := time.Since(start); took > 10*time.Millisecond {
			t.Errorf("told after %v once it is calm again, want 10 ms at most", took)
		}
	})
}

func TestWaitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(home)
		var s hubs
		w := s.join("", slog.New(slog.DiscardHandler), f.open)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := w.WaitChange(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want the context's", err)
		}
		f.set(cafe)
		synctest.Wait()
		time.Sleep(time.Second)
		if err := w.WaitChange(ctx); err != nil {
			t.Errorf("error %v, want the change that was there", err)
		}
		w.once.Do(func() { close(w.closed); s.leave(w) })
		if err := w.WaitChange(t.Context()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("error %v, want net.ErrClosed", err)
		}
		select {
		case <-f.done:
		default:
			t.Error("the source is open and nobody watches")
		}
	})
}

func TestWatchersShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(home)
		var s hubs
		discard := slog.New(slog.DiscardHandler)
		a := s.join("ns1", discard, f.open)
		b := s.join("ns1", discard, func() (source, error) { panic("opened twice") })
		g := newFake(home)
		other := s.join("ns2", discard, g.open)
		f.set(cafe)
		if !pending(a) || !pending(b) || pending(other) {
			t.Error("want those of one namespace told, and those of the other not")
		}
		s.leave(a)
		f.set(home)
		if !pending(b) {
			t.Error("the last watcher is not told")
		}
		if _ = b.WaitChange(t.Context()); !strings.HasSuffix(b.Change(), "by eth0") {
			t.Errorf("the last watcher was told %q, want all that happened", b.Change())
		}
		s.leave(b)
		s.leave(other)
		if len(s.hubs) != 0 {
			t.Errorf("%d hubs left with no watcher", len(s.hubs))
		}
		again := newFake(cafe)
		c := s.join("ns1", discard, again.open)
		if d := c.Snapshot().Diff(cafe); d != "" {
			t.Errorf("a new hub has an old state: %s", d)
		}
		s.leave(c)
	})
}

// What polls reads the real network of the machine, whose state no test may depend on.
func TestFallsBackToPolling(t *testing.T) {
	for name, open := range map[string]func() (source, error){
		"cannot open": func() (source, error) { return nil, os.ErrPermission },
		"cannot read": func() (source, error) {
			f := newFake(home)
			f.err = os.ErrPermission
			return f, nil
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			var b bytes.Buffer
			var s hubs
			w := s.join("", slog.New(slog.NewTextHandler(&b, nil)), open)
			defer s.leave(w)
			if _, ok := w.hub.src.(*poll); !ok {
				t.Errorf("%s: source %T, want polling", name, w.hub.src)
			}
			if n := strings.Count(b.String(), "\n"); n != 1 || !strings.Contains(b.String(), "permission") {
				t.Errorf("%s: log %q, want one line with the reason", name, b.String())
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		f := newFake(home)
		w := watch(t, f)
		f.event <- errors.New("broken")
		synctest.Wait()
		if _, ok := w.hub.src.(*poll); !ok {
			t.Errorf("source %T after one that broke, want polling", w.hub.src)
		}
		select {
		case <-f.done:
		default:
			t.Error("the broken source is still open")
		}
	})
}

func TestPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := home
		var err error
		var mu sync.Mutex
		p := newPoll(pollEvery, func() (State, error) {
			mu.Lock()
			defer mu.Unlock()
			return now.clone(), err
		})
		var b bytes.Buffer
		var s hubs
		w := s.join("", slog.New(slog.NewTextHandler(&b, nil)), func() (source, error) { return p, nil })
		time.Sleep(time.Minute)
		if pending(w) {
			t.Errorf("told of %q with no change", w.Change())
		}
		mu.Lock()
		err = os.ErrPermission
		mu.Unlock()
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := strings.Count(b.String(), "\n"); n != 1 {
			t.Errorf("log %q, want one line for an error that lasts", b.String())
		}
		mu.Lock()
		now, err = cafe, nil
		mu.Unlock()
		start := time.Now()
		_ = w.WaitChange(t.Context())
		if took := time.Since(start); took > pollEvery {
			t.Errorf("noticed after %v, want %v at most", took, pollEvery)
		}
		s.leave(w)
	})
}

// Android does not let apps read this at all.
func TestBlind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		w := &Watcher{log: slog.New(slog.NewTextHandler(&b, nil)), wake: make(chan struct{}, 1), closed: make(chan struct{})}
		h := &hub{done: make(chan struct{}), watchers: map[*Watcher]struct{}{w: {}}}
		h.ctx, h.cancel = context.WithCancel(t.Context())
		w.hub = h
		refuse := func() (State, error) { return State{}, os.ErrPermission }
		h.start(func() (source, error) { return nil, os.ErrPermission }, refuse)
		<-h.done // there is nothing to do
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := w.WaitChange(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want nothing to happen", err)
		}
		if n := strings.Count(b.String(), "\n"); n != 2 {
			t.Errorf("log %q, want that the system refuses both ways, once", b.String())
		}
		if s := w.Snapshot(); len(s.Interfaces) != 0 {
			t.Errorf("snapshot %+v of what cannot be read", s)
		}
		h.cancel()
	})
}

// The system of this machine is read and watched.
func TestSystem(t *testing.T) {
	w, err := New(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	s := w.Snapshot()
	if len(s.Interfaces) == 0 {
		t.Fatal("no interface, want loopback at least")
	}
	byNet, err := list()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range byNet.Interfaces {
		if !want.Loopback {
			continue
		}
		for _, got := range s.Interfaces {
			if got.Name == want.Name && (!got.Loopback || len(got.Addrs) != len(want.Addrs)) {
				t.Errorf("got %+v, want %+v as package net sees it", got, want)
			}
		}
	}
}
