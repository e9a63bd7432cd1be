// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path/filepath"
)

var (
	errIncomplete = errors.New("the file ended too early")
	errTooLong    = errors.New("more bytes than announced")
	errHash       = errors.New("the hash is wrong")
	errUnwanted   = errors.New("it is not wanted, not so large or not so many at a time")
)

// An incoming is a file being received: under a temporary name, until it is complete and its hash is right. It belongs to
// one goroutine.
type incoming struct {
	dir   string
	offer fileOffer
	tmp   *os.File // nil once it is finished or discarded
	hash  hash.Hash
	got   int64
}

// newIncoming starts to receive a file into dir. The caller must call finish or discard.
func newIncoming(dir string, o fileOffer) (*incoming, error) {
	tmp, err := os.CreateTemp(dir, ".incoming-*") // mode 0600: what peers send is for the user alone
	if err != nil {
		return nil, err
	}
	return &incoming{dir: dir, offer: o, tmp: tmp, hash: sha256.New()}, nil
}

// full reports whether all bytes are here.
func (in *incoming) full() bool { return in.got == in.offer.Size }

// write takes the next bytes.
func (in *incoming) write(b []byte) error {
	if int64(len(b)) > in.offer.Size-in.got {
		return errTooLong
	}
	if _, err := in.tmp.Write(b); err != nil {
		return err
	}
	in.hash.Write(b)
	in.got += int64(len(b))
	return nil
}

// finish compares the hash with the sender's and gives the file its name, or one like it if that is taken. It returns the
// path.
func (in *incoming) finish(sum []byte) (string, error) {
	defer in.discard()
	if !in.full() {
		return "", errIncomplete
	}
	if !bytes.Equal(in.hash.Sum(nil), sum) {
		return "", errHash
	}
	if err := in.tmp.Close(); err != nil {
		return "", err
	}
	path, err := claim(in.dir, in.offer.Name)
	if err != nil {
		return "", err
	}
	if err := os.Rename(in.tmp.Name(), path); err != nil {
		os.Remove(path)
		return "", err
	}
	in.tmp = nil
	return path, nil
}

// discard removes the temporary file, if there is one.
func (in *incoming) discard() {
	if in.tmp == nil {
		return
	}
	in.tmp.Close()
	os.Remove(in.tmp.Name())
	in.tmp = nil
}

// claim creates an empty file that did not exist, under name or a numbered form of it, and returns its path. Nothing is ever
// overwritten, however many files of the same name arrive at the same time.
func claim(dir, name string) (string, error) {
	for n := range 1000 {
		path := filepath.Join(dir, numbered(name, n))
		f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		return path, f.Close()
	}
	return "", fmt.Errorf("%s: too many files of that name", name)
}
