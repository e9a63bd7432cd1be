// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"reflect"
	"testing"
)

// countHooks fills every hook of a trace with one that counts.
func countHooks(hooks reflect.Value, n *int) {
	for _, f := range hooks.Fields() {
		if f.Kind() == reflect.Struct {
			countHooks(f, n)
			continue
		}
		f.Set(reflect.MakeFunc(f.Type(), func([]reflect.Value) []reflect.Value { *n++; return nil }))
	}
}

// callHooks calls every hook of a trace once and returns how many there are.
func callHooks(hooks reflect.Value) (n int) {
	for _, f := range hooks.Fields() {
		if f.Kind() == reflect.Struct {
			n += callHooks(f)
			continue
		}
		n++
		if !f.IsNil() {
			f.Call([]reflect.Value{reflect.Zero(f.Type().In(0))})
		}
	}
	return n
}

// An application that traces and logs events gets every event in both places, those of hooks added later included.
func TestTraceOfTwoHasEveryHook(t *testing.T) {
	var a, b Trace
	calledA, calledB := 0, 0
	countHooks(reflect.ValueOf(&a).Elem(), &calledA)
	countHooks(reflect.ValueOf(&b).Elem(), &calledB)
	both := teeTrace(&a, &b)
	hooks := callHooks(reflect.ValueOf(&both).Elem())
	if calledA != hooks || calledB != hooks {
		t.Errorf("of %d hooks, %d and %d were called, want all of both", hooks, calledA, calledB)
	}
}
