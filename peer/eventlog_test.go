// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/peer/peertest"
)

// A logEvent is a record of an event log that is not its first.
type logEvent struct {
	Time float64
	Name string
	Data map[string]any
}

// parseLog takes a file apart as RFC 7464 and qlog's main schema say, refusing what is not in them.
func parseLog(t *testing.T, b []byte) (header map[string]any, events []logEvent) {
	t.Helper()
	records := bytes.Split(b, []byte{0x1e})
	if len(records) < 2 || len(records[0]) != 0 {
		t.Fatalf("the file has %d records and begins with %q", len(records)-1, records[0])
	}
	last := 0.0
	for i, text := range records[1:] {
		if !bytes.HasSuffix(text, []byte("\n")) {
			t.Fatalf("record %d does not end in a line feed: %q", i, text)
		}
		dec := json.NewDecoder(bytes.NewReader(text))
		dec.DisallowUnknownFields()
		if i == 0 {
			if err := dec.Decode(&header); err != nil {
				t.Fatalf("header %q: %v", text, err)
			}
			continue
		}
		var e logEvent
		if err := dec.Decode(&e); err != nil {
			t.Fatalf("record %d, %q: %v", i, text, err)
		}
		category, _, ok := strings.Cut(e.Name, ":")
		known := []string{"connectivity", "transport", "recovery", "security", "runnel"}
		if !ok || !slices.Contains(known, category) || e.Data == nil || e.Time < last {
			t.Errorf("record %d is %s; the one before is of %v ms", i, text, last)
		}
		last = e.Time
		events = append(events, e)
	}
	return header, events
}

func count(events []logEvent) map[string]int {
	n := make(map[string]int)
	for _, e := range events {
		n[e.Name]++
	}
	return n
}

func TestEventLogOfAShortSession(t *testing.T) {
	dir := t.TempDir()
	var end peer.Stats
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: 5 * time.Millisecond, NoRelay: true})
		var c peer.Conditioner
		cfg := peer.Config{EventLog: peer.EventLogDir(dir)}
		alice := n.Endpoint(peertest.Public, &peer.Config{EventLog: cfg.EventLog, Conditioner: &c})
		bob := n.Endpoint(peertest.Public, &cfg)
		a, b := meet(t, alice, bob)
		c.Set(peer.Conditions{Loss: 0.05, Duplicate: 0.05, Seed: 1})
		transfer(t, a, b, 100)
		if err := a.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		<-b.Done()
		time.Sleep(5 * time.Second)
		end = a.Stats()
	})
	files, err := filepath.Glob(filepath.Join(dir, "*.sqlog"))
	if err != nil || len(files) != 2 {
		t.Fatalf("there are %d files, %v, want one for each end", len(files), err)
	}
	groups := make(map[any]bool)
	for _, name := range files {
		if fi, err := os.Stat(name); err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, %v; want it private", name, fi.Mode(), err)
		}
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		header, events := parseLog(t, b)
		trace := header["trace"].(map[string]any)
		common := trace["common_fields"].(map[string]any)
		side := trace["vantage_point"].(map[string]any)["type"]
		if header["qlog_version"] != "0.3" || header["qlog_format"] != "JSON-SEQ" || common["time_format"] != "relative" ||
			!strings.HasSuffix(name, "_"+side.(string)+".sqlog") {
			t.Errorf("%s: header is %v", name, header)
		}
		groups[common["group_id"]] = true
		n := count(events)
		for _, want := range []string{
			"runnel:session_started", "runnel:stage_reached", "connectivity:connection_state_updated",
			"transport:packet_received", "connectivity:connection_closed", "runnel:session_ended",
		} {
			if n[want] == 0 {
				t.Errorf("%s has no %s, but %v", name, want, slices.Sorted(maps.Keys(n)))
			}
		}
		if last := events[len(events)-1]; last.Name != "runnel:session_ended" {
			t.Errorf("%s ends with %s", name, last.Name)
		}
		if side == "client" {
			for event, want := range map[string]uint64{
				"transport:packet_sent":     end.Flow.PacketsSent,
				"recovery:packet_lost":      end.Flow.PacketsLost,
				"runnel:spurious_loss":      end.Flow.PacketsSpurious,
				"runnel:message_sent":       100,
				"runnel:message_delivered":  100,
				"runnel:flow_opened":        1,
				"runnel:flow_closed":        1,
				"runnel:message_abandoned":  0,
				"recovery:metrics_updated":  max(1, uint64(n["recovery:metrics_updated"])),
				"runnel:packets_acked":      max(1, uint64(n["runnel:packets_acked"])),
				"runnel:message_received":   0,
				"transport:packet_received": end.PacketsReceived,
			} {
				if got := uint64(n[event]); got != want {
					t.Errorf("%d of %s, want %d", got, event, want)
				}
			}
			if got := uint64(n["transport:packet_dropped"]); got != end.Replayed {
				t.Errorf("%d packets dropped, stats say %d were twins", got, end.Replayed)
			}
		}
	}
	if len(groups) != 1 || end.EventsDropped != 0 {
		t.Errorf("the two ends name %d groups, %d events were dropped", len(groups), end.EventsDropped)
	}
}

// A buffer is a file in memory.
type buffer struct {
	bytes.Buffer
	closed bool
}

func (b *buffer) Close() error { b.closed = true; return nil }

// Sessions that strangers begin, and that come to nothing, leave no file; those that this endpoint began do.
func TestEventLogOfFailedSessions(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var dialler, listener []*buffer
		open := func(to *[]*buffer) func(peer.SessionInfo) (io.WriteCloser, error) {
			return func(peer.SessionInfo) (io.WriteCloser, error) {
				*to = append(*to, new(buffer))
				return (*to)[len(*to)-1], nil
			}
		}
		var c peer.Conditioner
		c.Set(peer.Conditions{Loss: 1})
		n := peertest.New(t, &peertest.Config{NoRelay: true})
		alice := n.Endpoint(peertest.Public, &peer.Config{EventLog: open(&dialler), Conditioner: &c, HandshakeTimeout: time.Second})
		// Bob gives up later, or he might be the first to say so.
		bob := n.Endpoint(peertest.Public, &peer.Config{EventLog: open(&listener), HandshakeTimeout: 2 * time.Second})
		if _, err := alice.Dial(t.Context(), bob.ID()); !errors.Is(err, peer.ErrUnreachable) {
			t.Fatalf("dialled: %v", err)
		}
		for _, e := range []*peer.Endpoint{alice, bob} {
			if err := e.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if len(dialler) != 1 || len(listener) != 0 {
			t.Fatalf("%d files at the side that dialled, %d at the other; want 1 and none", len(dialler), len(listener))
		}
		_, events := parseLog(t, dialler[0].Bytes())
		if n := count(events); n["connectivity:connection_closed"] != 1 || !dialler[0].closed {
			t.Errorf("the log has %v, closed: %v", n, dialler[0].closed)
		}
	})
}

func TestEventLogThatCannotBeOpened(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, nil)
		alice := n.Endpoint(peertest.Public, &peer.Config{EventLog: peer.EventLogDir("/nowhere/at/all")})
		a, b := meet(t, alice, n.Endpoint(peertest.Public, nil))
		transfer(t, a, b, 10)
		time.Sleep(time.Second) // the file has been tried to open
		if a.Stats().EventsDropped == 0 {
			t.Error("no event counts as dropped")
		}
	})
}

// A stuckWriter never finishes.
type stuckWriter struct{ free <-chan struct{} }

func (w stuckWriter) Write(b []byte) (int, error) { <-w.free; return len(b), nil }
func (w stuckWriter) Close() error                { return nil }

// A disk that has stopped does not keep an endpoint from closing for longer than it is told, and a second.
func TestEventLogThatIsStuck(t *testing.T) {
	bubble(t, func(t *testing.T) {
		free := make(chan struct{})
		n := peertest.New(t, &peertest.Config{OneWay: 5 * time.Millisecond, NoRelay: true})
		alice := n.Endpoint(peertest.Public, &peer.Config{EventLog: func(peer.SessionInfo) (io.WriteCloser, error) {
			return stuckWriter{free}, nil
		}})
		bob := n.Endpoint(peertest.Public, nil)
		meet(t, alice, bob)
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		done := make(chan time.Duration, 1)
		start := time.Now()
		go func() {
			_ = alice.Close(ctx)
			done <- time.Since(start)
		}()
		select {
		case took := <-done:
			if took > 6*time.Second {
				t.Errorf("Close took %v, want at most the 5s it was given and 1s", took)
			}
		case <-time.After(time.Minute):
			t.Error("Close waits for a writer that is stuck, whatever its context says")
		}
		close(free)
		synctest.Wait()
	})
}
