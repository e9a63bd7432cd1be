// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/seed-98f0d4c2/runnel/signaling"
)

const (
	registerTime = 5 * time.Second

	// Peers refuse what seems to be five minutes old, or from the future.
	clockWarn = 30 * time.Second
	clockFail = 4 * time.Minute
)

// rendezvous registers there, takes its advice, and compares clocks.
func (d *doctor) rendezvous(ctx context.Context) []finding {
	const name = "rendezvous"
	if d.flags.Rendezvous == "" {
		return []finding{{name, note, "none given: checks of servers are limited to --stun and --relay", ""}}
	}
	key, err := d.flags.identity()
	if err != nil {
		return []finding{{name, fail, err.Error(), ""}}
	}
	client, err := signaling.NewClient(d.flags.Rendezvous, key, &signaling.ClientConfig{Log: d.log})
	if err != nil {
		return []finding{{name, fail, err.Error(), "Give a URL such as wss://rendezvous.example/v1."}}
	}
	defer client.Close()
	limited, cancel := context.WithTimeout(ctx, registerTime)
	defer cancel()
	began := time.Now()
	sv, err := client.Services(limited)
	if err != nil {
		out := []finding{{
			name, fail, fmt.Sprintf("not registered after %v: %v", short(time.Since(began)), err),
			"Check the URL, that the server runs, and that TCP to it is allowed here.",
		}}
		return append(out, d.clock(ctx)...)
	}
	d.services = sv
	text := fmt.Sprintf("registered in %v; advises %d STUN servers and %d ways to relays", short(time.Since(began)), len(sv.STUN), len(sv.Relays))
	if sv.Observed.IsValid() {
		text += fmt.Sprintf("; sees us as %v", sv.Observed)
	}
	f := finding{name, ok, text, ""}
	if len(sv.Relays) == 0 {
		f.Verdict, f.Remedy = warn, "Have the rendezvous hand out a relay: without one, peers behind hard NATs do not meet."
	}
	return append([]finding{f}, d.clock(ctx)...)
}

// clock compares this host's clock to that of the rendezvous, by an answer to HTTP, which is good for a second.
func (d *doctor) clock(ctx context.Context) []finding {
	const name = "clock"
	limited, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	url := "http" + strings.TrimPrefix(d.flags.Rendezvous, "ws")
	req, err := http.NewRequestWithContext(limited, http.MethodGet, url, nil)
	if err != nil {
		return []finding{{name, note, err.Error(), ""}}
	}
	began := time.Now()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return []finding{{name, note, "the rendezvous cannot be asked for the time: " + err.Error(), ""}}
	}
	_ = resp.Body.Close()
	took := time.Since(began)
	date, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return []finding{{name, note, "the rendezvous does not tell the time", ""}}
	}
	off := began.Add(took / 2).Sub(date.Add(time.Second / 2)).Abs() // the date is cut to a second
	f := finding{name, ok, fmt.Sprintf("within %v of the rendezvous'", (off + took/2 + time.Second/2).Round(time.Second)), ""}
	if off > clockWarn {
		f = finding{name, warn, fmt.Sprintf("%v from the rendezvous'", off.Round(time.Second)), "Set the clock: peers refuse messages that are five minutes off."}
	}
	if off > clockFail {
		f.Verdict = fail
	}
	return []finding{f}
}
