// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

// Package link is a network link between two network namespaces of this machine, made in user space: what one side sends
// comes out of a TUN device into this process, waits in a queue, takes its time on a wire, is perhaps lost, and goes into
// the TUN device of the other side. Everything that speaks IPv4 runs over it unmodified, the kernel's TCP included.
//
//	l, err := link.New(link.Config{Rate: 20e6, Delay: 20 * time.Millisecond, Queue: 250_000})
//	if err != nil {
//		return err // says so if it takes root
//	}
//	defer l.Close()
//	server, client := l.Side(0), l.Side(1)
//	err = server.Do(func() error { return cmd.Start() }) // the child lives on that side
//
// A [Queue] is the link's arithmetic without the devices: exact, in plain time and seeded.
//
// Nothing has a name: the namespaces are held by the threads, files and children of this process and vanish with them, so
// a run that was killed leaves nothing behind, and any number can run at a time.
//
// # Limitations
//
// Linux, as root, IPv4. Departures are computed exactly and carried out when the scheduler lets us, which on a busy
// machine is a fraction of a millisecond late, and more on one that has no time for us: Stats.Late counts that. Errors do not add
// up. The order of packets is kept.
package link
