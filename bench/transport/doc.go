// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

// Package transport has one way of talking to a dozen transports, each set up as its documentation advises:
//
//	t, _ := transport.Find("quic-go")
//	l, err := t.Listen(ctx, transport.Env{Local: addr, Signal: toTheOtherSide})   // in one process
//	d, err := t.NewDialer(ctx, transport.Env{Local: addr, Signal: toTheOtherSide}) // in another
//	conn, err := d.Dial(ctx)
//	ch, err := conn.Open(ctx, transport.Bulk)
//	err = ch.Send(chunk)
//
// There is a file for each transport. What was chosen for it, and what it cannot do, is in its Transport value.
//
// # Limitations
//
// An adapter is as good as our knowledge of its library: corrections are welcome. Linux.
package transport
