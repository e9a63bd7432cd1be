// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package eventlog

import (
	"encoding/json"
	"math"
	"strconv"
	"time"
	"unicode/utf8"
)

// An Event is an event being written. Its methods append to the event's data and return it; the last one is Done, without
// which the trace stays locked. Keys must need no escaping.
type Event struct{ t *Trace } // nil: the event is dropped

// separate writes what stands before a key.
func (e Event) key(k string) {
	b := e.t.buf
	if b[len(b)-1] != '{' {
		b = append(b, ',')
	}
	b = append(b, '"')
	b = append(b, k...)
	e.t.buf = append(b, '"', ':')
}

// Object begins an object, which End ends.
func (e Event) Object(k string) Event {
	if e.t != nil {
		e.key(k)
		e.t.buf = append(e.t.buf, '{')
	}
	return e
}

// End ends an object.
func (e Event) End() Event {
	if e.t != nil {
		e.t.buf = append(e.t.buf, '}')
	}
	return e
}

// Uint writes a number.
func (e Event) Uint(k string, v uint64) Event {
	if e.t != nil {
		e.key(k)
		e.t.buf = strconv.AppendUint(e.t.buf, v, 10)
	}
	return e
}

// Int writes a number.
func (e Event) Int(k string, v int) Event {
	if e.t != nil {
		e.key(k)
		e.t.buf = strconv.AppendInt(e.t.buf, int64(v), 10)
	}
	return e
}

// Millis writes a duration as qlog does: in milliseconds, with a fraction.
func (e Event) Millis(k string, d time.Duration) Event { return e.Float(k, millis(d)) }

// Float writes a number. JSON has no infinities and no NaN; they become zero.
func (e Event) Float(k string, v float64) Event {
	if e.t != nil {
		e.key(k)
		e.t.buf = appendFloat(e.t.buf, v)
	}
	return e
}

// Bool writes true or false.
func (e Event) Bool(k string, v bool) Event {
	if e.t != nil {
		e.key(k)
		e.t.buf = strconv.AppendBool(e.t.buf, v)
	}
	return e
}

// maxString is how much of a string is written, in bytes.
const maxString = 512

// String writes a string, of which invalid UTF-8 is replaced.
func (e Event) String(k, v string) Event {
	if e.t != nil {
		e.key(k)
		e.t.buf = appendString(e.t.buf, v[:min(len(v), maxString)])
	}
	return e
}

// Done ends the event.
func (e Event) Done() {
	if e.t == nil {
		return
	}
	e.t.buf = append(e.t.buf, "}}\n"...)
	e.t.appended()
	e.t.mu.Unlock()
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func appendFloat(b []byte, v float64) []byte {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		v = 0
	}
	return strconv.AppendFloat(b, v, 'f', -1, 64)
}

func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			quoted, err := json.Marshal(s)
			if err != nil { // there is no such string
				quoted = []byte(`""`)
			}
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
