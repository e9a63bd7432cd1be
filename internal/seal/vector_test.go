// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"bytes"
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// vectors reads the example of docs/PROTOCOL.md §7, computed by an implementation in another language. Whoever changes
// these bytes changes the protocol.
func vectors(t *testing.T) map[string]string {
	t.Helper()
	doc, err := os.ReadFile("../../docs/PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	_, chapter, _ := strings.Cut(string(doc), "## 7. Packet protection")
	_, example, _ := strings.Cut(chapter, "### Example")
	_, example, _ = strings.Cut(example, "```\n")
	example, _, _ = strings.Cut(example, "```")
	v := map[string]string{}
	for line := range strings.Lines(example) {
		i := strings.LastIndexByte(strings.TrimSpace(line), ' ')
		v[strings.TrimSpace(line[:i])] = strings.TrimSpace(line[i:])
	}
	return v
}

func TestVectors(t *testing.T) {
	exporter, kem := make([]byte, 32), make([]byte, 32)
	for i := range 32 {
		exporter[i], kem[i] = byte(i), byte(0x20+i)
	}
	got := map[string][]byte{}
	secret := DeriveSecret(exporter, kem, []byte("offeranswer"))
	got["secret"] = secret[:]
	binding := secret.Binding()
	got["binding"] = binding[:]
	for _, suite := range suites {
		a, err := NewSession(secret, Initiator, suite, nil)
		if err != nil {
			t.Fatal(err)
		}
		// The keys as an implementer would derive them, step by step.
		ts := Secret(secret.Export("packets initiator", 32))
		name := suite.String() + " "
		got["initiator traffic secret"] = ts[:]
		got[name+"key"] = ts.Export("key "+suite.String(), suite.keySize())
		got[name+"iv"] = ts.Export("iv "+suite.String(), 12)
		k := keys{iv: [nonceSize]byte(got[name+"iv"])}
		var nonce [nonceSize]byte
		k.nonce(&nonce, 0x1234)
		got[name+"nonce"] = nonce[:]
		got["initiator traffic secret, phase 1"] = ts.Export("update", 32)
		got[name+"packet"] = sealExample(a, 0x1234, "hello")
		a.updateSend()
		got[name+"packet, phase 1"] = sealExample(a, 0x1235, "hello")
	}
	for name, v := range vectors(t) {
		want, err := hex.DecodeString(v)
		if err != nil || !bytes.Equal(got[name], want) {
			t.Errorf("%s:\n got %x\nwant %s", name, got[name], v)
		}
		delete(got, name)
	}
	for name, b := range got {
		t.Errorf("no vector for %q: %x", name, b)
	}
}

// sealExample seals a message as packet pn of session 0x0102030405060708, whose number takes two bytes.
func sealExample(s *Session, pn uint64, msg string) []byte {
	hdr := wire.AppendHeader(nil, 0x0102030405060708, s.KeyPhase(), pn, 0x1000)
	return s.Seal(append(hdr, msg...), len(hdr), pn)
}
