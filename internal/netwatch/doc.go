// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

// Package netwatch tells when this host's network has changed: its addresses, its links, and the way out.
//
//	w, err := netwatch.New(log)
//	if err != nil {
//		return err
//	}
//	defer w.Close()
//	for {
//		if err := w.WaitChange(ctx); err != nil {
//			return err
//		}
//		fmt.Println(w.Change()) // "eth0 lost 10.0.0.2; default route is now by wlan0"
//	}
//
// What has changed is found by comparing two readings of the whole state, not by following the system's messages: those
// only say that it is time to read again. So a message lost does no harm, and what systems report without a change, such
// as the lifetime of an IPv6 address that a router has renewed, wakes nobody.
//
// # What counts
//
// An address counts while it may be the source of new packets and its interface is up and has a carrier: not loopback, not
// link-local IPv6, and on Linux neither tentative (RFC 4862 §5.4) nor deprecated (§5.5.4). The way out, for each family, is
// what the system's own route lookup gives for a public address, so a VPN that splits the default route in two, or
// diverts it by rule, is seen. Nothing is sent to find it out.
//
// # Systems
//
// Linux reports by rtnetlink, macOS, iOS and the BSDs by a routing socket, Windows by the IP Helper API. Where that fails, and on
// other systems, the state is read every 5 s. All watchers of a process share what reads, and its one goroutine.
//
// # Limitations
//
// Android keeps this state from apps (since 11): a watcher there logs so once, and never reports a change. An app has to
// pass on what ConnectivityManager tells it.
//
// Outside Linux the gateway is not known: a change of routers that leaves interface and address is noticed only by the link
// that goes down meanwhile. A tentative address counts from the start there.
//
// A change that is undone within 5 ms, or within 200 ms when the system reports all the time, may go unnoticed.
package netwatch
