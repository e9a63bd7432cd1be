// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// receive feeds the chunks to an incoming file in dir.
func receive(dir string, o fileOffer, sum []byte, chunks ...string) (string, error) {
	in, err := newIncoming(dir, o)
	if err != nil {
		return "", err
	}
	defer in.discard()
	for _, c := range chunks {
		if err := in.write([]byte(c)); err != nil {
			return "", err
		}
	}
	return in.finish(sum)
}

func sha(s string) []byte {
	h := sha256.Sum256([]byte(s))
	return h[:]
}

func TestIncoming(t *testing.T) {
	dir := t.TempDir()
	offer := fileOffer{Name: "a.txt", Size: 10}
	for _, want := range []string{"a.txt", "a (1).txt", "a (2).txt"} {
		path, err := receive(dir, offer, sha("hellohello"), "hello", "hello")
		if err != nil || path != filepath.Join(dir, want) {
			t.Fatalf("received as %q, %v; want %s", path, err, want)
		}
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, []byte("hellohello")) {
			t.Errorf("%s holds %q, %v", path, got, err)
		}
	}
	if path, err := receive(dir, fileOffer{Name: "empty"}, sha("")); err != nil {
		t.Errorf("an empty file: %q, %v", path, err)
	}
}

func TestIncomingLeavesNothingOfWhatIsWrong(t *testing.T) {
	for name, c := range map[string]struct {
		sum    []byte
		chunks []string
		want   error
	}{
		"wrong hash":   {sha("other"), []string{"hello"}, errHash},
		"no hash":      {nil, []string{"hello"}, errHash},
		"too short":    {sha("hell"), []string{"hell"}, errIncomplete},
		"too long":     {sha("hello!"), []string{"hello", "!"}, errTooLong},
		"long at once": {sha("hello!"), []string{"hello!"}, errTooLong},
	} {
		dir := t.TempDir()
		if path, err := receive(dir, fileOffer{Name: "a.txt", Size: 5}, c.sum, c.chunks...); !errors.Is(err, c.want) {
			t.Errorf("%s: %q, %v; want %v", name, path, err, c.want)
		}
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("%s: left %v behind", name, left)
		}
	}
}

func TestIncomingOverwritesNothing(t *testing.T) {
	dir := t.TempDir()
	precious := filepath.Join(dir, "a.txt")
	if err := os.WriteFile(precious, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := receive(dir, fileOffer{Name: "a.txt", Size: 1}, sha("x"), "x"); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(precious); string(got) != "precious" {
		t.Errorf("the file that was there now holds %q", got)
	}
}
