// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// The example of docs/PROTOCOL.md, "Packet protection", computed by an implementation in another language.
// Whoever changes these bytes changes the protocol.
var vectors = []struct{ name, want string }{
	{"secret", "dffeae362ca74ba49acbc80a8aef019f5fd2a51d464d18538949935b9b8dde89"},
	{"binding", "4c916ae40ea130403ea26572691b2e3d3689cfa406877f5ddbb1add572a57002"},
	{"initiator traffic secret", "d92637ac7e9f719aebad76c27876477ce4d75c121ce4a995be62f62e376315c8"},
	{"initiator traffic secret, phase 1", "9f29cb0837e27daa5c953ac0c249ecf92fcc732ec026c897c161fc9552ea6cc1"},
	{"aes128gcm key", "5797cbeddb115bbf27cfc99afd3b9c5e"},
	{"aes128gcm iv", "d6b09b87e4851746be80e1cc"},
	{"aes128gcm nonce", "d6b09b87e4851746be80f3f8"},
	{"aes128gcm packet", "c1010203040506070812342d21bc36b3a2e089e5bb53fc7782810846c91d8640"},
	{"aes128gcm packet, phase 1", "d101020304050607081235c52198cb5b4ef623c6b5120b9410e26ebd871c11f8"},
	{"chacha20poly1305 key", "e9f6404d3f03b08497b395866d7a2c3e7115bd1aeed219d7f93243a46e6de2dc"},
	{"chacha20poly1305 iv", "7a9da3cd2b4f25407e0a2ac3"},
	{"chacha20poly1305 nonce", "7a9da3cd2b4f25407e0a38f7"},
	{"chacha20poly1305 packet", "c101020304050607081234b0a5c2aadf9416e63c2ea6b7bfa19454e9216c1abc"},
	{"chacha20poly1305 packet, phase 1", "d1010203040506070812358ff1c7db69e8b970a72830b6588618d76c387d3ce5"},
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
	for _, v := range vectors {
		want, err := hex.DecodeString(strings.ReplaceAll(v.want, " ", ""))
		if err != nil || !bytes.Equal(got[v.name], want) {
			t.Errorf("%s:\n got %x\nwant %s", v.name, got[v.name], v.want)
		}
		delete(got, v.name)
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
