// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package eventlog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A file is a writer in memory.
type file struct {
	bytes.Buffer
	fail   error
	block  chan struct{} // if not nil, Write waits for it
	closed int
}

func (f *file) Write(b []byte) (int, error) {
	if f.block != nil {
		<-f.block
	}
	if f.fail != nil {
		return 0, f.fail
	}
	return f.Buffer.Write(b)
}

func (f *file) Close() error { f.closed++; return nil }

func (f *file) open() (io.WriteCloser, error) { return f, nil }

// A record is one of a file: the header, or an event.
type record struct {
	Version string `json:"qlog_version"`
	Format  string `json:"qlog_format"`
	Title   string
	Trace   struct {
		Vantage struct{ Name, Type string } `json:"vantage_point"`
		Common  struct {
			TimeFormat string   `json:"time_format"`
			Reference  float64  `json:"reference_time"`
			Protocol   []string `json:"protocol_type"`
			Group      string   `json:"group_id"`
		} `json:"common_fields"`
	}
	Time float64
	Name string
	Data map[string]any
}

// parse takes a file apart as RFC 7464 says.
func parse(t *testing.T, b []byte) []record {
	t.Helper()
	if len(b) == 0 {
		return nil
	}
	if b[0] != 0x1e {
		t.Fatalf("the file begins with %q, want a record separator", b[:1])
	}
	var out []record
	for text := range bytes.SplitSeq(b[1:], []byte{0x1e}) {
		if !bytes.HasSuffix(text, []byte("}\n")) {
			t.Fatalf("record %q does not end in a line feed", text)
		}
		var r record
		if err := json.Unmarshal(text, &r); err != nil {
			t.Fatalf("record %q: %v", text, err)
		}
		out = append(out, r)
	}
	return out
}

func TestFileIsASequenceOfJSONTexts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(nil)
		start := time.Now()
		tr := l.NewTrace(start)
		tr.Event(start.Add(1500*time.Microsecond), "transport:packet_sent").
			Object("header").String("packet_type", "1RTT").Uint("packet_number", math.MaxUint64).End().
			Object("raw").Int("length", 1200).End().Object("none").End().Bool("x", true).Done()
		var f file
		tr.Attach(Header{Title: "a\"b", Name: "älice", Client: true, Group: "g"}, f.open)
		odd := "\x00\n\\\"\xff\u2028é</script>"
		tr.Event(start.Add(time.Second), "runnel:odd").String("s", odd).
			Float("nan", math.NaN()).Float("inf", math.Inf(-1)).Float("big", 1e21).Millis("d", 1250*time.Microsecond).Done()
		tr.Event(start.Add(time.Second), "runnel:empty").Done()
		tr.Close()
		tr.Event(start, "runnel:late").Done()
		l.Close(t.Context())
		got := parse(t, f.Bytes())
		if len(got) != 4 {
			t.Fatalf("there are %d records, want a header and three events:\n%s", len(got), f.String())
		}
		h := got[0]
		if h.Version != "0.3" || h.Format != "JSON-SEQ" || h.Title != "a\"b" || h.Trace.Vantage.Name != "älice" ||
			h.Trace.Vantage.Type != "client" || h.Trace.Common.TimeFormat != "relative" || h.Trace.Common.Group != "g" ||
			h.Trace.Common.Reference != float64(start.UnixMilli()) {
			t.Errorf("header is %+v", h)
		}
		if i := strings.Index(f.String(), `"qlog_format"`); i < 0 || i > 256 {
			t.Errorf("the format is named at byte %d, want it within the first 256", i)
		}
		if e := got[1]; e.Time != 1.5 || e.Name != "transport:packet_sent" || fmt.Sprint(e.Data["raw"]) != "map[length:1200]" {
			t.Errorf("first event is %+v", e)
		}
		if e := got[2]; e.Data["s"] != strings.ToValidUTF8(odd, "\ufffd") || e.Data["nan"] != 0.0 || e.Data["big"] != 1e21 ||
			e.Data["d"] != 1.25 {
			t.Errorf("second event is %+v", e)
		}
		if f.closed != 1 {
			t.Errorf("the file was closed %d times", f.closed)
		}
		if n := l.held.Load(); n != 0 {
			t.Errorf("%d bytes are still accounted for", n)
		}
	})
}

func TestEventsAreWrittenSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(nil)
		defer l.Close(t.Context())
		var f file
		tr := l.NewTrace(time.Now())
		defer tr.Close()
		tr.Attach(Header{}, f.open)
		tr.Event(time.Now(), "runnel:x").Done()
		time.Sleep(flushEvery)
		synctest.Wait()
		if got := len(parse(t, f.Bytes())); got != 2 {
			t.Errorf("%d records after %v, want 2", got, flushEvery)
		}
	})
}

// A writer that stands still costs events and nothing else.
func TestReporterNeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(nil)
		f := file{block: make(chan struct{})}
		tr, other := l.NewTrace(time.Now()), l.NewTrace(time.Now())
		tr.Attach(Header{}, f.open)
		time.Sleep(time.Second)
		synctest.Wait() // the goroutine is stuck
		const n = 20_000
		for i := range n {
			tr.Event(time.Now(), "runnel:x").Int("i", i).Done()
			other.Event(time.Now(), "runnel:x").Int("i", i).Done() // which is never attached
		}
		if held := l.held.Load(); held > maxBuffer+maxEarly {
			t.Errorf("%d bytes are held, want at most %d", held, maxBuffer+maxEarly)
		}
		dropped := tr.Dropped()
		close(f.block)
		synctest.Wait()
		tr.Close()
		other.Close()
		l.Close(t.Context())
		written, counted := 0, uint64(0)
		for _, r := range parse(t, f.Bytes())[1:] {
			if r.Name == "runnel:events_dropped" {
				counted += uint64(r.Data["count"].(float64))
			} else {
				written++
			}
		}
		if dropped == 0 || counted != dropped || uint64(written)+dropped != n {
			t.Errorf("%d written, %d dropped, %d said to be dropped in the file, of %d", written, dropped, counted, n)
		}
		if held := l.held.Load(); held != 0 {
			t.Errorf("%d bytes are still accounted for", held)
		}
	})
}

func TestAllTracesTogetherAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(nil)
		stuck := file{block: make(chan struct{})}
		long := strings.Repeat("x", maxString)
		var traces []*Trace
		for range 70 {
			tr := l.NewTrace(time.Now())
			tr.Attach(Header{}, stuck.open)
			traces = append(traces, tr)
			for range 700 {
				tr.Event(time.Now(), "runnel:x").String("s", long).Done()
			}
		}
		if held := l.held.Load(); held > maxHeld+maxEvent {
			t.Errorf("%d bytes are held, want at most %d", held, maxHeld)
		}
		close(stuck.block)
		for _, tr := range traces {
			tr.Close()
		}
		l.Close(t.Context())
	})
}

func TestWritersThatFail(t *testing.T) {
	broken := errors.New("broken")
	for name, f := range map[string]*file{"write": {fail: broken}, "open": nil} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var warned []error
				l := New(func(err error) { warned = append(warned, err) })
				tr := l.NewTrace(time.Now())
				tr.Attach(Header{}, func() (io.WriteCloser, error) {
					if f == nil {
						return nil, broken
					}
					return f, nil
				})
				for range 3 {
					tr.Event(time.Now(), "runnel:x").Done()
					time.Sleep(time.Second)
				}
				tr.Close()
				l.Close(t.Context())
				if len(warned) != 1 || !errors.Is(warned[0], broken) {
					t.Errorf("warned of %v, want once of %v", warned, broken)
				}
				if tr.Dropped() != 3 {
					t.Errorf("%d events dropped, want 3", tr.Dropped())
				}
				if f != nil && f.closed != 1 {
					t.Errorf("the file was closed %d times", f.closed)
				}
			})
		})
	}
}

func TestNoLogWanted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(nil)
		tr := l.NewTrace(time.Now())
		tr.Event(time.Now(), "runnel:x").Done()
		tr.Attach(Header{}, func() (io.WriteCloser, error) { return nil, nil })
		time.Sleep(time.Second)
		tr.Event(time.Now(), "runnel:x").Done()
		tr.Close()
		l.Close(t.Context())
		if tr.Dropped() != 0 || l.held.Load() != 0 {
			t.Errorf("%d events dropped, %d bytes held of a log that nobody wants", tr.Dropped(), l.held.Load())
		}
	})
	var none *Log
	tr := none.NewTrace(time.Now())
	if n := testing.AllocsPerRun(100, func() {
		tr.Event(time.Time{}, "runnel:x").Object("o").Int("i", 1).End().String("s", "x").Done()
	}); n != 0 {
		t.Errorf("no log at all allocates %v times for each event", n)
	}
	tr.Attach(Header{}, nil)
	tr.Close()
	none.Close(t.Context())
}

func BenchmarkEvent(b *testing.B) {
	l := New(nil)
	tr := l.NewTrace(time.Now())
	tr.Attach(Header{}, func() (io.WriteCloser, error) { return discard{}, nil })
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		tr.Event(now, "transport:packet_sent").Object("header").String("packet_type", "1RTT").Uint("packet_number", 7).
			End().Object("raw").Int("length", 1200).End().Done()
	}
	tr.Close()
	l.Close(b.Context())
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) Close() error                { return nil }
