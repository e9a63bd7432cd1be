// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

// Package programtest makes what tests of programs need on disk:
//
//	chain, key, pool := programtest.Certificate(t, t.TempDir(), 1, "rendezvous.example")
//
// # Limitations
//
// Certificates only: self-signed, ECDSA P-256, by DNS names.
package programtest
