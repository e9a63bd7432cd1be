// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mobilitylab

import (
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/peer/peertest"
)

// TestIdleCost measures what a thousand sessions cost on which nothing is said for half an hour.
func TestIdleCost(t *testing.T) {
	side := 32 // each of so many endpoints has a session with each of so many others
	if testing.Short() {
		side = 8
	}
	synctest.Test(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: oneWay, NoRelay: true})
		var all [2][]*peer.Endpoint
		for i := range all {
			for range side {
				all[i] = append(all[i], n.Endpoint(peertest.PortRestricted, nil))
			}
		}
		time.Sleep(5 * time.Second)
		heap, goroutines := usage()
		var sessions []*peer.Session
		for _, a := range all[0] {
			for _, b := range all[1] {
				s, err := a.Dial(t.Context(), b.ID())
				if err != nil {
					t.Fatal(err)
				}
				far, err := b.Accept(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				sessions = append(sessions, s, far)
			}
		}
		time.Sleep(time.Minute) // what establishing needs is gone
		var packets int         // written by the network's goroutine
		remove := n.Tap(func(p peertest.Packet) peertest.Verdict {
			if len(p.Payload) > 0 && p.Payload[0] >= 192 {
				packets++
			}
			return peertest.Pass
		})
		const watch = 30 * time.Minute
		time.Sleep(watch)
		remove()
		synctest.Wait()
		ends := len(sessions)
		heapNow, goroutinesNow := usage()
		bytes, each := (int64(heapNow)-int64(heap))/int64(ends), float64(goroutinesNow-goroutines)/float64(ends)
		every := time.Duration(float64(watch) * float64(ends) / float64(packets))
		if bytes > 30<<10 {
			t.Errorf("a session takes %d bytes at each side, want at most 30 KiB", bytes)
		}
		if each > 2 {
			t.Errorf("a session has %.2f goroutines at each side, want at most 2", each)
		}
		if every < 15*time.Second {
			t.Errorf("each side sends a packet every %v, want 15 s between them", every)
		}
		for _, s := range sessions {
			if s.Err() != nil {
				t.Fatal(s.Err())
			}
		}
		add("Others", 10, "memory of an idle session at each side", "30 KiB", fmt.Sprintf("%.1f KiB", float64(bytes)/1024))
		add("Others", 11, "goroutines of an idle session at each side", "2", fmt.Sprintf("%.2f", each))
		add("Others", 12, "time between the packets of an idle session, from each side", "15 s", show(every))
		runtime.KeepAlive(all)
	})
}

// usage returns the bytes of heap in use and the number of goroutines.
func usage() (heap uint64, goroutines int) {
	synctest.Wait()
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc, runtime.NumGoroutine()
}

// TestIdleBesideRelay counts the packets of an idle session that keeps a relayed path warm beside its direct one, or has
// only that one.
func TestIdleBesideRelay(t *testing.T) {
	t.Parallel()
	for i, sites := range [][2]peertest.Site{homes, randoms} {
		name := []string{"direct, a relay beside", "relayed"}[i]
		run(t, setup{sites: sites, still: true, net: twoRelay}, 0, *first, func(r *rig) {
			time.Sleep(2 * time.Minute)
			var before [2]uint64
			for i, s := range r.ends {
				before[i] = s.Stats().PacketsSent
			}
			const watch = 30 * time.Minute
			time.Sleep(watch)
			for i, s := range r.ends {
				every := watch / time.Duration(max(s.Stats().PacketsSent-before[i], 1))
				if every < 15*time.Second {
					r.t.Errorf("%s: end %d sends a packet every %v, want 15 s between them", name, i, every)
				}
				if i == 0 {
					add("Others", 13+i, "the same, "+name, "15 s", show(every))
				}
			}
			r.start()
			time.Sleep(time.Second)
			r.finish()
		})
	}
}
