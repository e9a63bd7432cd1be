// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"errors"
	"math"
	"strings"
	"time"

	"github.com/seed-98f0d4c2/runnel/flow"
	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// What calls look like on the wire is in docs/PROTOCOL.md §9, "Calls".

// callLabel is the label of the flow that carries a request.
const callLabel = reservedPrefix + "call"

// Limits of what a call carries besides its messages, in bytes. Together with numbers they fit the metadata of a flow.
const (
	MaxMethod       = 128 // name of a method
	MaxCallMetadata = 256 // CallOptions.Metadata
	maxCallText     = 400 // text of an error
)

// A callHeader is the metadata of the flow that carries a request.
type callHeader struct {
	stream   bool
	priority flow.Priority
	timeout  time.Duration // what is left of the caller's; zero: none
	method   string
	metadata []byte
}

const (
	callStream    = 1 << 0 // flag: a stream of messages each way
	callPriority  = 1      // shift of the priority of answers, 0 being the most urgent
	callKnownBits = callStream | 7<<callPriority
	mostUrgent    = 4 // priority that level 0 stands for
)

func (h *callHeader) append(b []byte) []byte {
	flags := byte(max(0, min(mostUrgent-int(h.priority), 7))) << callPriority
	if h.stream {
		flags |= callStream
	}
	b = append(b, flags)
	b = wire.AppendVarint(b, h.millis())
	b = wire.AppendVarint(b, uint64(len(h.method)))
	b = append(b, h.method...)
	return append(b, h.metadata...)
}

// millis is the timeout, rounded up: the handler is not told to give up before the caller does.
func (h *callHeader) millis() uint64 {
	ms := uint64(h.timeout / time.Millisecond)
	if h.timeout%time.Millisecond > 0 {
		ms++
	}
	return ms
}

var errCallHeader = errors.New("peer: malformed call")

// parseCallHeader reads the metadata of a call. The result refers to b.
func parseCallHeader(b []byte) (h callHeader, err error) {
	if len(b) == 0 || b[0]&^callKnownBits != 0 {
		return h, errCallHeader
	}
	h.stream = b[0]&callStream != 0
	h.priority = flow.Priority(mostUrgent - int(b[0]>>callPriority&7))
	ms, n := wire.ReadVarint(b[1:])
	if n <= 0 {
		return h, errCallHeader
	}
	if ms <= math.MaxInt64/uint64(time.Millisecond) { // else it is as good as none
		h.timeout = time.Duration(ms) * time.Millisecond
	}
	b = b[1+n:]
	length, n := wire.ReadVarint(b)
	if n <= 0 || length > MaxMethod || length > uint64(len(b)-n) {
		return h, errCallHeader
	}
	h.method, h.metadata = string(b[n:n+int(length)]), b[n+int(length):]
	return h, nil
}

// A callStatus says how a call ended. The zero value, which takes no bytes, says that it went well.
type callStatus struct {
	code CallCode
	ran  bool // the handler may have
	text string
}

func (st callStatus) append(b []byte) []byte {
	if st.code == 0 {
		return b
	}
	ran := byte(0)
	if st.ran {
		ran = 1
	}
	b = append(b, ran)
	b = wire.AppendVarint(b, min(uint64(st.code), wire.MaxVarint))
	return append(b, cutText(st.text, "")...)
}

// cutText returns as much of the text of an error as may travel. replacement takes the place of what is not UTF-8.
func cutText[S string | []byte](text S, replacement string) string {
	valid := strings.ToValidUTF8(string(text[:min(len(text), maxCallText)]), replacement)
	if len(valid) > maxCallText { // by the replacements
		valid = strings.ToValidUTF8(valid[:maxCallText], "")
	}
	return valid
}

func parseCallStatus(b []byte) (st callStatus, err error) {
	if len(b) == 0 {
		return st, nil
	}
	code, n := wire.ReadVarint(b[1:])
	if b[0] > 1 || n <= 0 || code == 0 {
		return st, errCallHeader
	}
	return callStatus{code: CallCode(code), ran: b[0] == 1, text: cutText(b[1+n:], "\uFFFD")}, nil
}

// The first byte of each message on the flows of a streaming call.
const (
	callMessage = 0 // what follows is a message
	callEnd     = 1 // no more messages follow; from the handler's side, the status does
)
