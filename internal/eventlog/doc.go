// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

// Package eventlog writes what happens in sessions as qlog (draft-ietf-quic-qlog-main-schema, version 0.3) in JSON text
// sequences (RFC 7464), one file for each session. Whoever reports an event never waits: it is put into a bounded buffer,
// which one goroutine empties for all sessions.
//
//	l := eventlog.New(nil)
//	defer l.Close(ctx)
//	t := l.NewTrace(start)
//	t.Attach(eventlog.Header{Name: "alice", Client: true}, func() (io.WriteCloser, error) {
//		return os.Create("session.sqlog")
//	})
//	t.Event(time.Now(), "transport:packet_sent").Object("header").Uint("packet_number", 7).End().Done()
//	t.Close()
//
// # Limitations
//
// What does not fit into the buffers is dropped, newest first, and counted in the file; nothing is thinned out.
package eventlog
