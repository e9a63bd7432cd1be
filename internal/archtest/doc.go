// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

// Package archtest holds the rules of this repository that a compiler does not enforce, as tests:
//
//	go test ./internal/archtest
//
// The tables, one sentence of reason to each row, are in tables_test.go: which layer a package is in, what a few
// packages may import and nothing else, which packages are machines and what a machine may not touch, and which
// import paths are confined to one place. A new package must be given its place there before the tests pass.
//
// The rules themselves are functions over a file tree, and violations_test.go holds for each of them a tiny tree in
// memory that breaks it, so a rule that can no longer fail is a failing test.
//
// Beyond the layers they are: every package has one doc comment, at its expected place and with its limitations at the
// end; every Go file has the licence header and a bearable length; no package has a name that says nothing; no file
// names a path outside the repository; links between documents lead somewhere.
//
// A nested module, a directory with a go.mod of its own, is held to these, and may import no internal package of ours. It
// has no layer, and what it imports of others is its own business, which is why it is a module.
//
// # Limitations
//
// The rules read syntax, not types. A machine that reaches a clock through an interface value handed to it, or through
// a package that is not in the tables, is not found out. Imports of test files are checked against the confinement of
// pion only: a test may use any layer.
package archtest
