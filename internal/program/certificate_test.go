// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package program

import (
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/program/programtest"
)

// A renewed certificate is used without a restart, a half-written or missing one is not.
func TestCertificateIsReadAgain(t *testing.T) {
	dir := t.TempDir()
	chain, key, _ := programtest.Certificate(t, dir, 1)
	c, err := LoadCertificate(chain, key, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	age := time.Duration(0)
	serial := func() int64 {
		t.Helper()
		age += time.Minute // a file system may not tell two writes apart
		for _, f := range []string{chain, key} {
			if err := os.Chtimes(f, time.Time{}, time.Now().Add(age)); err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
		}
		c.checked = time.Time{} // as if the time to look had come
		cert, err := c.Get(nil)
		if err != nil {
			t.Fatal(err)
		}
		return cert.Leaf.SerialNumber.Int64()
	}
	if got := serial(); got != 1 {
		t.Errorf("serial %d, want 1", got)
	}
	for _, f := range []string{key, chain} {
		if err := os.WriteFile(f, []byte("half a file"), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := serial(); got != 1 {
			t.Errorf("with a broken %s: serial %d, want the old one", f, got)
		}
	}
	programtest.Certificate(t, dir, 2)
	if got := serial(); got != 2 {
		t.Errorf("after renewal: serial %d, want 2", got)
	}
	if !c.Expires().After(time.Now()) {
		t.Errorf("ends at %v, want the time of the one in use", c.Expires())
	}
	if err := os.Remove(chain); err != nil {
		t.Fatal(err)
	}
	if got := serial(); got != 2 {
		t.Errorf("with a missing file: serial %d, want the last one", got)
	}
	programtest.Certificate(t, dir, 3)
	if got, _ := c.Get(nil); got.Leaf.SerialNumber.Int64() != 2 {
		t.Errorf("serial %v at once after a look, want that no client makes it look at the files again within %v",
			got.Leaf.SerialNumber, certCheck)
	}
}
