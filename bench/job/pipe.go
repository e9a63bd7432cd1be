// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package job

import (
	"context"
	"encoding/json"
	"io"
	"sync"
)

// What the processes tell each other, a JSON object each.
type message struct {
	Kind   kind
	Data   []byte  `json:",omitempty"` // a signal's
	Spec   *Spec   `json:",omitempty"`
	Result *Result `json:",omitempty"`
	Sent   *Result `json:",omitempty"` // with stop: what the client has sent
	Error  string  `json:",omitempty"`
}

type kind string

const (
	kindSpec   kind = "spec"   // to a child: what to do
	kindSignal kind = "signal" // between the children
	kindReady  kind = "ready"  // from a child: connected
	kindStart  kind = "start"  // to a child: go
	kindDone   kind = "done"   // from the client: its time is over, with the result
	kindStop   kind = "stop"   // to the server: the same
	kindResult kind = "result" // from the server
	kindFail   kind = "fail"   // from a child
)

// A pipe is one child's connection to its parent, from either end.
type pipe struct {
	mu  sync.Mutex
	enc *json.Encoder

	signals chan []byte
	control chan message // both are closed at the end
}

func newPipe(r io.Reader, w io.Writer) *pipe {
	p := &pipe{enc: json.NewEncoder(w), signals: make(chan []byte, 1<<14), control: make(chan message, 16)}
	go func() {
		defer close(p.control)
		defer close(p.signals)
		for dec := json.NewDecoder(r); ; {
			var m message
			if dec.Decode(&m) != nil {
				return
			}
			if m.Kind == kindSignal {
				p.signals <- m.Data
			} else {
				p.control <- m
			}
		}
	}()
	return p
}

func (p *pipe) send(m message) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.enc.Encode(m)
}

// Send and Recv make a pipe a [transport.Signal].
func (p *pipe) Send(b []byte) error { return p.send(message{Kind: kindSignal, Data: b}) }

func (p *pipe) Recv(ctx context.Context) ([]byte, error) {
	select {
	case b, ok := <-p.signals:
		if !ok {
			return nil, io.ErrUnexpectedEOF
		}
		return b, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
