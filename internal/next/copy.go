// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// listFiles names the files of the checkout at root that git tracks or would track.
func listFiles(ctx context.Context, root string) ([]string, error) {
	out, err := output(ctx, root, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	if err != nil {
		return nil, err
	}
	names := strings.FieldsFunc(out, func(r rune) bool { return r == 0 })
	slices.Sort(names)
	return slices.Compact(names), nil
}

// placed is where a file goes in the copy: what is written for the newest set waits in testdata/next of its package,
// where neither the compiler nor go mod tidy looks.
func placed(name string) string { return strings.Replace(name, "/testdata/next/", "/", 1) }

// copyFiles copies the named regular files from one directory to another, with their permissions, to where they are
// placed. A file that git still lists but that has been removed is left out.
func copyFiles(from, to string, names []string) error {
	for _, name := range names {
		src, dst := filepath.Join(from, filepath.FromSlash(name)), filepath.Join(to, filepath.FromSlash(placed(name)))
		info, err := os.Lstat(src)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			continue
		}
		b, err := os.ReadFile(src)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(dst), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(dst, b, info.Mode().Perm()); err != nil {
			return err
		}
	}
	return nil
}

// rewriteTree rewrites the imports of the named Go files below dir, in place, and returns how many it changed. Files
// under testdata are data, whatever they are called.
func rewriteTree(dir string, names []string) (int, error) {
	total := 0
	for _, name := range names {
		name = placed(name)
		if !strings.HasSuffix(name, ".go") || slices.Contains(strings.Split(name, "/"), "testdata") {
			continue
		}
		path := filepath.Join(dir, filepath.FromSlash(name))
		src, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return total, err
		}
		out, n, err := rewriteImports(name, src)
		if err != nil {
			return total, err
		}
		if n > 0 {
			if err := os.WriteFile(path, out, 0o644); err != nil {
				return total, err
			}
		}
		total += n
	}
	return total, nil
}
