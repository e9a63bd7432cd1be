// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

// Package job is what the two processes of a measurement do: one is the server, which receives, the other the client,
// which sends. A third process, their parent, starts both, carries their signals, says when, and takes what they report.
//
//	job.Main(os.Stdin, os.Stdout) // in a child, which does one job and ends
//
// and in the parent
//
//	p, err := job.Start(ctx, spec, serverSide, clientSide)
//	if err != nil {
//		return err // one of them could not connect
//	}
//	defer p.Close()
//	outcome, err := p.Run(ctx)
//
// # Limitations
//
// Linux. A measurement is over when the client's time is: what is still on its way then is not counted.
package job
