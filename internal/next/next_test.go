// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func TestRewritePath(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{"github.com/pion/ice/v2", "github.com/pion/ice/v4"},
		{"github.com/pion/ice/v2/internal/x", "github.com/pion/ice/v4/internal/x"},
		{"github.com/pion/dtls/v2/pkg/crypto/elliptic", "github.com/pion/dtls/v3/pkg/crypto/elliptic"},
		{"github.com/pion/transport/v2/vnet", "github.com/pion/transport/v5/vnet"},
		{"github.com/pion/turn/v2", "github.com/pion/turn/v5"},
		{"github.com/pion/srtp/v2", "github.com/pion/srtp/v3"},
		{"github.com/pion/stun", "github.com/pion/stun/v4"},
		{"github.com/pion/stun/internal/hmac", "github.com/pion/stun/v4/internal/hmac"},
		{"github.com/pion/stun/v4", "github.com/pion/stun/v4"},
		{"github.com/pion/stun/v3/x", "github.com/pion/stun/v3/x"},
		{"github.com/pion/stunner", "github.com/pion/stunner"},
		{"github.com/pion/ice/v22", "github.com/pion/ice/v22"},
		{"github.com/pion/logging", "github.com/pion/logging"},
		{"github.com/pion/rtp", "github.com/pion/rtp"},
		{"net/netip", "net/netip"},
	} {
		got, changed := rewritePath(test.in)
		if got != test.want || changed != (test.in != test.want) {
			t.Errorf("rewritePath(%q) = %q, %t; want %q", test.in, got, changed, test.want)
		}
	}
}

func TestRewriteImports(t *testing.T) {
	const in = `//go:build pionnext

package x

import "fmt"

import (
	"github.com/pion/ice/v2"
	st ` + "`github.com/pion/stun`" + ` // a comment
	"github.com/pion/logging"
)

// github.com/pion/ice/v2 is named here, too.
const s = "github.com/pion/ice/v2"
func f( ) { fmt.Println(s) }
`
	const want = `//go:build pionnext

package x

import "fmt"

import (
	"github.com/pion/ice/v4"
	st "github.com/pion/stun/v4" // a comment
	"github.com/pion/logging"
)

// github.com/pion/ice/v2 is named here, too.
const s = "github.com/pion/ice/v2"
func f( ) { fmt.Println(s) }
`
	got, n, err := rewriteImports("x.go", []byte(in))
	if err != nil || n != 2 || string(got) != want {
		t.Errorf("rewriteImports = %d paths, %v:\n%s\nwant 2 paths:\n%s", n, err, got, want)
	}
	if _, _, err := rewriteImports("y.go", []byte("no Go")); err == nil {
		t.Error("rewriteImports accepted what is not Go")
	}
}

func TestModEdits(t *testing.T) {
	const mod = `{"Module": {"Path": "m"}, "Require": [
		{"Path": "github.com/pion/ice/v2", "Version": "v2.3.38"},
		{"Path": "github.com/pion/rtp", "Version": "v1.8.3", "Indirect": true},
		{"Path": "golang.org/x/net", "Version": "v0.62.0"}]}`
	got, err := modEdits([]byte(mod))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"-droprequire=github.com/pion/ice/v2", "-droprequire=github.com/pion/rtp",
		"-require=github.com/pion/ice/v4@v4.4.8", "-require=github.com/pion/stun/v4@v4.0.1",
	} {
		if !slices.Contains(got, want) {
			t.Errorf("edits %q lack %s", got, want)
		}
	}
	if slices.ContainsFunc(got, func(e string) bool { return strings.Contains(e, "golang.org") }) {
		t.Errorf("edits %q touch modules that are not pion's", got)
	}
	if _, err := modEdits([]byte("{")); err == nil {
		t.Error("modEdits accepted what is not JSON")
	}
}

// TestTreeCopy runs everything up to the go command on a small checkout.
func TestTreeCopy(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is needed to know which files belong to a checkout")
	}
	root, dir := t.TempDir(), t.TempDir()
	if out, err := exec.Command("git", "init", "-q", root).CombinedOutput(); err != nil {
		t.Fatalf("git init: %v: %s", err, out)
	}
	const pion = "package x\n\nimport \"github.com/pion/turn/v2\"\n"
	for name, text := range map[string]string{
		".gitignore": "/bin/\n", "bin/tool": "ignored", "run": "#!/bin/sh\n", "gone.go": "package x\n",
		"x/x.go": pion, "x/testdata/y.go": pion,
	} {
		path := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("git", "-C", root, "add", "gone.go").CombinedOutput(); err != nil {
		t.Fatalf("git add: %v: %s", err, out)
	}
	if err := os.Remove(filepath.Join(root, "gone.go")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(root, "run"), 0o755); err != nil {
		t.Fatal(err)
	}

	names, err := listFiles(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{".gitignore", "gone.go", "run", "x/testdata/y.go", "x/x.go"}; !slices.Equal(names, want) {
		t.Fatalf("listFiles = %q, want %q", names, want)
	}
	if err := copyFiles(root, dir, names); err != nil {
		t.Fatal(err)
	}
	n, err := rewriteTree(dir, names)
	if err != nil || n != 1 {
		t.Fatalf("rewriteTree = %d, %v; want the one import of x/x.go", n, err)
	}
	for name, want := range map[string]string{
		"x/x.go":          strings.Replace(pion, "turn/v2", "turn/v5", 1),
		"x/testdata/y.go": pion,
		"run":             "#!/bin/sh\n",
	} {
		got, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil || string(got) != want {
			t.Errorf("copy of %s = %q, %v; want %q", name, got, err, want)
		}
	}
	if got, err := os.ReadFile(filepath.Join(root, "x", "x.go")); err != nil || string(got) != pion {
		t.Errorf("the original x/x.go is %q, %v; want it untouched", got, err)
	}
	for _, name := range []string{"gone.go", "bin", ".git"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			t.Errorf("%s was copied", name)
		}
	}
	info, err := os.Stat(filepath.Join(dir, "run"))
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" && info.Mode()&0o100 == 0 {
		t.Errorf("mode of the copy of run = %v, want it executable", info.Mode())
	}
}
