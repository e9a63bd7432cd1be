// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package rvproto

import (
	"bytes"
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"
)

// The largest payload fits a frame beside the longest numbers and names.
func TestLargestPayloadFits(t *testing.T) {
	peer := strings.Repeat("a", maxPeer)
	for _, f := range []*Frame{
		{Type: TypeSend, Seq: 1<<64 - 1, To: peer, Payload: make([]byte, MaxPayload)},
		{Type: TypeDeliver, Seq: 1<<64 - 1, From: peer, Payload: make([]byte, MaxPayload)},
	} {
		b, err := Encode(f)
		if err != nil {
			t.Fatalf("%s: %v", f.Type, err)
		}
		parse := ParseClient
		if f.Type == TypeDeliver {
			parse = ParseServer
		}
		got, err := parse(b)
		if err != nil || !reflect.DeepEqual(got, f) {
			t.Errorf("%s of %d bytes came back as another one, %v", f.Type, len(b), err)
		}
	}
	if _, err := Encode(&Frame{Type: TypeSend, Payload: make([]byte, MaxFrame)}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("oversize frame encoded: error %v, want ErrTooLarge", err)
	}
}

// All services a server may hand out fit a frame too.
func TestServicesFit(t *testing.T) {
	s := &Services{TTL: 600_000}
	for range maxServices {
		s.STUN = append(s.STUN, strings.Repeat("s", 64)+":3478")
		s.Relays = append(s.Relays, Relay{
			URL:        "turn:" + strings.Repeat("r", 64) + ":3478?transport=udp",
			Username:   "1700000000:" + strings.Repeat("a", 56),
			Credential: strings.Repeat("c", 28),
		})
	}
	b, err := Encode(&Frame{Type: TypeRegistered, Epoch: 1, Resume: make([]byte, ResumeSize), Time: 1, Services: s})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseServer(b); err != nil {
		t.Error(err)
	}
}

func TestParse(t *testing.T) {
	tests := []struct {
		name, text string
		client     bool
		want       error
	}{
		{"unknown type", `{"type":"x"}`, true, ErrUnknownType},
		{"no type", `{}`, true, ErrUnknownType},
		{"frame of the other side", `{"type":"ack","seq":1,"result":"ok"}`, true, ErrUnknownType},
		{"type of type", `{"type":1}`, true, ErrMalformed},
		{"null", `null`, true, ErrUnknownType},
		{"truncated", `{"type":"ping"`, true, ErrMalformed},
		{"negative seq", `{"type":"send","seq":-1,"to":"x"}`, true, ErrMalformed},
		{"long peer", `{"type":"send","seq":1,"to":"` + strings.Repeat("x", 65) + `"}`, true, ErrMalformed},
		{"too long", strings.Repeat(" ", MaxFrame+1), true, ErrTooLarge},
		{"short challenge", `{"type":"challenge","version":1,"server":"x","challenge":"AA==","time":1}`, false, ErrMalformed},
		{"delay of a year", `{"type":"going_away","delay":31536000000}`, false, ErrMalformed},
		{"escape sequence in a text", `{"type":"error","text":"\u001b[2J"}`, false, ErrMalformed},
		{"17 relays", `{"type":"services","services":{"relays":[` + strings.Repeat(`{"url":"x"},`, 16) + `{"url":"x"}]}}`, false, ErrMalformed},
		{"relay without URL", `{"type":"services","services":{"relays":[{}]}}`, false, ErrMalformed},
		{"fine", `{"type":"ping","id":1,"more":[]}`, true, nil},
	}
	for _, tt := range tests {
		parse := ParseServer
		if tt.client {
			parse = ParseClient
		}
		if _, err := parse([]byte(tt.text)); !errors.Is(err, tt.want) || tt.want == nil && err != nil {
			t.Errorf("%s: error %v, want %v", tt.name, err, tt.want)
		}
	}
}

// The example of docs/PROTOCOL.md.
func TestAuthInput(t *testing.T) {
	got := AuthInput("rendezvous.example", bytes.Repeat([]byte{0xcc}, 32), 1_700_000_000_123)
	want := "72756e6e656c2072656e64657a766f757320763100" + // domain
		"72656e64657a766f75732e6578616d706c65" + // name
		strings.Repeat("cc", 32) + "0000018bcfe5687b"
	if hex.EncodeToString(got) != want {
		t.Errorf("%x\nwant\n%s", got, want)
	}
}
