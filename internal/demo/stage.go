// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e && linux

package main

import (
	"errors"
	"fmt"
	"os"
)

// A stage is whom package netns builds a network for, in place of a test. What ends a test ends the show by a panic with a
// stageError.
type stage struct{ d *demo }

type stageError struct{ error }

func (s *stage) Helper()          {}
func (s *stage) Cleanup(f func()) { s.d.cleanups = append(s.d.cleanups, f) }

func (s *stage) Logf(format string, args ...any)   { fmt.Fprintf(os.Stderr, format+"\n", args...) }
func (s *stage) Errorf(format string, args ...any) { s.Logf(format, args...) }

func (s *stage) Fatal(args ...any) { panic(stageError{errors.New(fmt.Sprint(args...))}) }

func (s *stage) Fatalf(format string, args ...any) { panic(stageError{fmt.Errorf(format, args...)}) }

func (s *stage) Skip(args ...any) {
	panic(stageError{skipped("demo: " + fmt.Sprint(args...) + "; nothing was done")})
}

func (s *stage) Skipf(format string, args ...any) { s.Skip(fmt.Sprintf(format, args...)) }
