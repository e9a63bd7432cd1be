// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"sync"
)

// A Request is a call as its handler sees it.
type Request struct {
	Session  *Session // with the peer that calls; Session.Peer says who it is
	Method   string
	Data     []byte // the handler's to keep
	Metadata []byte // of the caller's CallOptions; must not be changed
}

// A HandlerFunc answers a call. What it returns is sent to the caller: a response, which is copied before anything
// else happens, or an error. A [*HandlerError], which [Errorf] makes, reaches the caller with its code; of any other
// error the caller gets the text, with the code CallFailed, so an error that a stranger must not read should be
// replaced. A panic is logged, and the caller is told CallInternal.
//
// ctx ends when the caller's deadline passes, when the caller gives up, and when the session ends; [context.Cause]
// says why. What is returned after that goes nowhere. It also ends when the handler has returned.
type HandlerFunc func(ctx context.Context, req *Request) ([]byte, error)

// A StreamHandlerFunc answers a streaming call. The stream is over when it returns; see [HandlerFunc] for what it
// returns, and when ctx ends.
type StreamHandlerFunc func(ctx context.Context, st *HandlerStream) error

// Handle makes fn the handler of calls of a method, by any peer that has a session with e. It replaces an earlier
// handler of that method; a nil fn removes it. Calls of methods without a handler are answered [CallNotFound].
//
// Methods have names of at most [MaxMethod] bytes; nobody can call another.
//
// Handlers are best registered right after [Listen]: peers may call as soon as they have a session. Each call runs in
// a goroutine of its own. [Config.MaxConcurrentCalls] and its neighbours bound how many; a call that has to wait for
// another to end waits in line with its deadline running. Sessions need not be accepted for their calls to be
// handled; see [Endpoint.Listener]. Who may call is for [Config.Authorize], or for fn, to decide.
func (e *Endpoint) Handle(method string, fn HandlerFunc) {
	e.calls.handlers.set(method, handler{call: fn}, fn == nil)
}

// HandleStream is Handle for streaming calls (see [Session.CallStream]). A method has one handler, of one kind.
func (e *Endpoint) HandleStream(method string, fn StreamHandlerFunc) {
	e.calls.handlers.set(method, handler{stream: fn}, fn == nil)
}

// Handle makes fn the handler of calls of a method on this session only. It goes before the endpoint's handler of the
// same method. The peer may have called before a handler is registered in this way.
func (s *Session) Handle(method string, fn HandlerFunc) {
	s.calls.handlers.set(method, handler{call: fn}, fn == nil)
}

// HandleStream is Handle for streaming calls.
func (s *Session) HandleStream(method string, fn StreamHandlerFunc) {
	s.calls.handlers.set(method, handler{stream: fn}, fn == nil)
}

// A handler is one of the two functions.
type handler struct {
	call   HandlerFunc
	stream StreamHandlerFunc
}

// handlers are those of an endpoint or a session, by method.
type handlers struct {
	mu       sync.RWMutex
	byMethod map[string]handler
}

func (hs *handlers) set(method string, h handler, remove bool) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	if remove {
		delete(hs.byMethod, method)
		return
	}
	if hs.byMethod == nil {
		hs.byMethod = make(map[string]handler)
	}
	hs.byMethod[method] = h
}

func (hs *handlers) get(method string) (handler, bool) {
	hs.mu.RLock()
	defer hs.mu.RUnlock()
	h, ok := hs.byMethod[method]
	return h, ok
}

func (hs *handlers) any() bool {
	hs.mu.RLock()
	defer hs.mu.RUnlock()
	return len(hs.byMethod) > 0
}
