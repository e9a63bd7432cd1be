// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

// Package e2e tests what is shipped: the programs rendezvous, relay and the chat example, as processes on hosts of their
// own behind the NATs of a real kernel (see package netns). It consists of tests, which exist with the build tag e2e on
// Linux and skip themselves without root and network namespaces:
//
//	go test -tags e2e ./internal/e2e
//
// A test starts programs and waits for lines that they print, each wait with a deadline. When it fails it shows the
// output of every program it has started, with the seconds since its start; RUNNEL_E2E_LOG=1 shows it always. The
// programs are built with the flags in GOFLAGS, so that GOFLAGS=-race puts them under the race detector, which
// also makes them slow enough for races of another kind.
//
// Tests of moves (mobility_test.go) have two chats count aloud and send a file while their networks change. They run in
// parallel, print each gap, and with RUNNEL_E2E_LONG=1 take minutes, for outages that long.
//
// # Limitations
//
// Round trips take microseconds, because the kernels this runs on cannot delay packets; package netlab and its virtual
// time are the place for tests in which delay matters.
package e2e
