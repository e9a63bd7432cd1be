// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package signaling

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

func TestKeyFileRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	k := testKey(1)
	if err := SaveKey(path, k); err != nil {
		t.Fatal(err)
	}
	got, err := LoadKey(path)
	if err != nil || !got.Equal(k) {
		t.Fatalf("LoadKey = %v, %v; want the key that was saved", got, err)
	}
	if info, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
		t.Errorf("%d files in the directory, want the key alone", len(entries))
	}
}

func TestSaveKeyNeverOverwrites(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	if err := SaveKey(path, testKey(1)); err != nil {
		t.Fatal(err)
	}
	if err := SaveKey(path, testKey(2)); !errors.Is(err, fs.ErrExist) {
		t.Errorf("saving over a key: error %v, want fs.ErrExist", err)
	}
	if got, err := LoadKey(path); err != nil || !got.Equal(testKey(1)) {
		t.Errorf("the first key is gone: %v", err)
	}
}

func TestLoadKeyRefuses(t *testing.T) {
	dir := t.TempDir()
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	good := filepath.Join(dir, "good")
	if err := SaveKey(good, testKey(1)); err != nil {
		t.Fatal(err)
	}
	goodPEM, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		mode fs.FileMode
		data []byte
		want string
	}{
		{"empty", 0o600, nil, "no PEM"},
		{"not PEM", 0o600, []byte("hello"), "no PEM"},
		{"huge", 0o600, make([]byte, maxKeyFile+1), "larger"},
		{"other block", 0o600, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), "CERTIFICATE"},
		{"other key", 0o600, pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: der}), "not an Ed25519 key"},
		{"truncated", 0o600, pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: der[:20]}), "asn1"},
		{"readable by the group", 0o640, goodPEM, "chmod 600"},
		{"readable by all", 0o604, goodPEM, "chmod 600"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if runtime.GOOS == "windows" && tt.mode != 0o600 {
				t.Skip("no permission bits on Windows")
			}
			path := filepath.Join(dir, "bad")
			if err := os.WriteFile(path, tt.data, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, tt.mode); err != nil {
				t.Fatal(err)
			}
			_, err := LoadKey(path)
			if !errors.Is(err, ErrKeyFile) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %q, want one that says %q", err, tt.want)
			}
		})
	}
	if _, err := LoadKey(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: error %v, want fs.ErrNotExist", err)
	}
	if _, err := LoadKey(dir); !errors.Is(err, ErrKeyFile) {
		t.Errorf("a directory: error %v, want ErrKeyFile", err)
	}
}

func TestLoadOrCreateKeyAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	var wg sync.WaitGroup
	ids := make([]PeerID, 8)
	for i := range ids {
		wg.Go(func() {
			k, err := LoadOrCreateKey(path)
			if err != nil {
				t.Error(err)
			}
			ids[i] = IDFromKey(k)
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Errorf("keys %v and %v were made at one path", id, ids[0])
		}
	}
}
