// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/program"
	"github.com/seed-98f0d4c2/runnel/mobility"
	"github.com/seed-98f0d4c2/runnel/peer"
)

type whyCmd struct {
	network
	target
	Wait time.Duration `help:"How long a path that is not direct is given to become so." default:"8s"`
	JSON bool          `name:"json" help:"Print the explanation as JSON."`
}

// aMoment is how long a direct session is watched, so that what was asked of STUN servers and the router is answered.
const aMoment = time.Second

// Run dials the peer, waits until the path has settled, and explains it.
func (c *whyCmd) Run(ctx context.Context, out *console) error {
	ep, s, err := c.dial(ctx, &c.target, out.stderr)
	if err != nil {
		var dial *peer.DialError
		if !errors.As(err, &dial) || dial.Explanation == nil {
			return err
		}
		return c.print(out, *dial.Explanation)
	}
	defer closeEndpoint(ep)
	settle(ctx, s, c.Wait)
	return c.print(out, s.Explain())
}

// settle waits until s is direct, or for as long as that is given.
func settle(ctx context.Context, s *peer.Session, wait time.Duration) {
	limited, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for s.Err() == nil && s.Stats().Path.Kind != mobility.Direct {
		if _, err := s.NextEvent(limited); err != nil {
			return
		}
	}
	brief := time.NewTimer(min(aMoment, wait))
	defer brief.Stop()
	select {
	case <-brief.C:
	case <-s.Done():
	case <-ctx.Done():
	}
}

// print shows an explanation, and returns the exit code as an error.
func (c *whyCmd) print(out *console, x peer.Explanation) error {
	if c.JSON {
		enc := json.NewEncoder(out.stdout)
		enc.SetIndent("", "  ")
		if err := enc.Encode(x); err != nil {
			return err
		}
	} else {
		fmt.Fprint(out.stdout, x)
	}
	switch x.State {
	case peer.StateDirect:
		return nil
	case peer.StateRelayed:
		return exitError(exitWarn)
	}
	return exitError(program.ExitRuntime)
}
