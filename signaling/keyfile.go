// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package signaling

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// ErrKeyFile is matched by errors about the content or the permissions of a key file. That a file does not exist, or
// exists already, is matched by [fs.ErrNotExist] and [fs.ErrExist] as usual.
var ErrKeyFile = errors.New("signaling: bad key file")

const (
	keyBlock   = "PRIVATE KEY" // PKCS #8, RFC 5208
	maxKeyFile = 16 << 10
)

// GenerateKey makes a new identity. Its [IDFromKey] is what others dial.
func GenerateKey() (ed25519.PrivateKey, error) {
	_, k, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("signaling: making a key: %w", err)
	}
	return k, nil
}

// LoadKey reads the identity that [SaveKey] wrote, or any Ed25519 key in PKCS #8 PEM form (as of
// "openssl genpkey -algorithm ed25519"). Except on Windows it refuses a file that others than its owner may access:
// who can read the key can be the peer.
func LoadKey(path string) (ed25519.PrivateKey, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("signaling: %w", err)
	}
	defer f.Close()

	info, err := f.Stat() // of the open file: nothing can be swapped in between
	if err != nil {
		return nil, fmt.Errorf("signaling: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: %s is not a regular file", ErrKeyFile, path)
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 && runtime.GOOS != "windows" {
		return nil, fmt.Errorf("%w: %s is open to others (mode %04o); chmod 600 it, or make a new key if they may have read it",
			ErrKeyFile, path, perm)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return nil, fmt.Errorf("signaling: %w", err)
	}
	if len(b) > maxKeyFile {
		return nil, fmt.Errorf("%w: %s is larger than any key", ErrKeyFile, path)
	}
	k, err := parseKey(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrKeyFile, path, err)
	}
	return k, nil
}

func parseKey(b []byte) (ed25519.PrivateKey, error) {
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, errors.New("no PEM block in it")
	}
	if block.Type != keyBlock {
		return nil, fmt.Errorf("the PEM block is %q, not %q", block.Type, keyBlock)
	}
	k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	ed, ok := k.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("the key is a %T, not an Ed25519 key", k)
	}
	return ed, nil
}

// SaveKey writes key to a new file that only its owner may access. It never overwrites: an identity that is lost is lost
// for ever, so for an existing file the error matches [fs.ErrExist]. The file appears complete or not at all.
func SaveKey(path string, key ed25519.PrivateKey) error {
	if len(key) != ed25519.PrivateKeySize {
		return fmt.Errorf("%w: a private key has %d bytes, not %d", ErrKeyFile, ed25519.PrivateKeySize, len(key))
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("signaling: %w", err)
	}
	if err := writeNew(path, pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: der})); err != nil {
		return fmt.Errorf("signaling: saving a key: %w", err)
	}
	return nil
}

// writeNew creates path with content b, mode 0600. A link to a finished temporary file is the portable way to create a
// file whole and only if there is none; where links are not supported a crash may leave a part of the file.
func writeNew(path string, b []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".key-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	if err := writeAndClose(tmp, b); err != nil {
		return err
	}
	err = os.Link(tmp.Name(), path)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := writeAndClose(f, b); err != nil {
		os.Remove(path)
		return err
	}
	return nil
}

func writeAndClose(f *os.File, b []byte) error {
	_, err := f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}

// LoadOrCreateKey loads the key at path, or makes one and saves it there when no such file exists. Processes that do so
// at the same time end up with the same key.
func LoadOrCreateKey(path string) (ed25519.PrivateKey, error) {
	k, err := LoadKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return k, err
	}
	if k, err = GenerateKey(); err != nil {
		return nil, err
	}
	err = SaveKey(path, k)
	if errors.Is(err, fs.ErrExist) { // somebody was faster
		return LoadKey(path)
	}
	if err != nil {
		return nil, err
	}
	return k, nil
}
