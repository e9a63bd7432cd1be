// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/seed-98f0d4c2/runnel/flow"
)

// Labels of flows.
const (
	labelChat   = "chat"
	labelFile   = "file"
	labelResult = "file-result"
)

// Limits.
const (
	maxText    = 16 << 10 // bytes of a line
	chunkSize  = 64 << 10 // bytes of a file in one message
	maxMessage = 128 << 10
)

// Codes with which a flow is rejected or aborted.
const (
	codeUnknownFlow = 1 + iota // nobody knows what the flow is for
	codeMalformed              // what came on it makes no sense
	codeFailed                 // the file could not be written, or read
	codeQuit                   // the program ends
)

// A message is one message of a chat flow. Fields that a program does not know it ignores.
type message struct {
	Nick string  `json:"nick,omitempty"` // who is speaking; first of all, and again whenever it changes
	Text *string `json:"text,omitempty"`
}

func helloMessage(nick string) []byte { return marshal(message{Nick: nick}) }
func textMessage(text string) []byte  { return marshal(message{Text: &text}) }

func parseMessage(b []byte) (message, error) {
	var m message
	if err := json.Unmarshal(b, &m); err != nil {
		return message{}, fmt.Errorf("chat message: %w", err)
	}
	return m, nil
}

// A fileOffer is the metadata of a file flow.
type fileOffer struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
}

// parseFileOffer makes the name of the file safe.
func parseFileOffer(b []byte) (fileOffer, error) {
	var o fileOffer
	if err := json.Unmarshal(b, &o); err != nil {
		return fileOffer{}, fmt.Errorf("%w: %w", errBadOffer, err)
	}
	if o.Size < 0 {
		return fileOffer{}, fmt.Errorf("%w: negative size", errBadOffer)
	}
	o.Name = safeName(o.Name)
	return o, nil
}

var errBadOffer = errors.New("the offer makes no sense")

// A fileResult is what the receiver says at the end.
type fileResult struct {
	OK    bool   `json:"ok"`
	Error string `json:"error,omitempty"`
}

func parseFileResult(b []byte) error {
	var r fileResult
	if err := json.Unmarshal(b, &r); err != nil {
		return fmt.Errorf("file result: %w", err)
	}
	if !r.OK {
		return fmt.Errorf("the receiver says: %s", r.Error)
	}
	return nil
}

// A digest is the last message of a file flow.
type digest [sha256.Size]byte

// marshal is json.Marshal for what cannot fail. Characters that matter to HTML alone stay as they are and short.
func marshal(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// explain puts the codes of this program, and its end, into words.
func explain(err error) error {
	var code uint64
	var rejected *flow.RejectedError
	var aborted *flow.AbortedError
	switch {
	case errors.As(err, &rejected):
		code = rejected.Code
	case errors.As(err, &aborted):
		code = aborted.Code
	case errors.Is(err, context.Canceled):
		return errors.New("called off, the program ends")
	}
	switch code {
	case codeUnknownFlow:
		return errors.New("the peer's program does not know what this is")
	case codeMalformed:
		return errors.New("the peer's program does not understand ours")
	case codeFailed:
		return errors.New("the peer could not read or write the file")
	case codeQuit:
		return errors.New("the peer has called it off")
	}
	return err
}
