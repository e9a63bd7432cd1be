// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

// Package wire encodes and decodes everything Runnel puts on the wire: packet headers, chunks, and the limits and
// codes both ends agree on. docs/PROTOCOL.md is its prose; the golden examples there are this package's tests.
//
// A protected packet is a header and a sealed payload; the payload is a sequence of chunks. Writing one:
//
//	pkt := wire.AppendHeader(buf[:0], sid, keyPhase, pn, largestAcked)
//	hdrLen := len(pkt)
//	pkt = wire.AppendChunk(pkt, wire.ChunkPing, nil)
//	// seal pkt[hdrLen:] and send
//
// and reading one:
//
//	h, err := wire.ParseHeader(pkt)
//	// open pkt[h.Len:] giving payload and the full packet number
//	for len(payload) > 0 {
//		t, body, rest, err := wire.NextChunk(payload)
//		// handle err; t is ChunkPadding when nothing is left
//		payload = rest
//	}
//
// Appending functions follow the append convention: they return the extended slice and allocate only when its
// capacity does not suffice. Parsing functions never allocate and never copy: what they return aliases the input.
// Every parser accepts arbitrary bytes; bad input yields an error wrapping [ErrTruncated] or [ErrMalformed], never a
// panic.
//
// The package is pure: no clocks, no sockets, no goroutines, and no state.
//
// # Limitations
//
// There is one wire version. A chunk type of 0x80 or above may be added at any time, because receivers skip what they
// do not know there; a type below 0x80 needs the agreement of both ends before it is sent.
package wire
