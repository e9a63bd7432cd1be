// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

// Next tries this repository against the newest set of pion libraries, without changing it:
//
//	go run ./internal/next [-keep] [packages]
//
// It copies the files of the working tree that git does not ignore into a temporary directory, rewrites pion's import
// paths there to those of the newest set, mends go.mod, and then builds everything and runs the tests of the packages
// named (default: all). It needs git and, for the libraries, the Go module proxy or a filled module cache.
//
// Where the two sets differ in more than paths, a package under internal/pionx has two files: one with the build
// constraint "!pionnext" for the set in use, and one with "pionnext", in its testdata/next, for the newest. Next moves the
// second beside the first and builds with that tag. Both import the set in use; Next rewrites both.
//
// With -keep the copy stays, and its place is printed, to go on by hand.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
)

// tag is the build tag of files written for the newest set.
const tag = "pionnext"

func main() {
	keep := flag.Bool("keep", false, "leave the copy in place")
	flag.Parse()
	packages := flag.Args()
	if len(packages) == 0 {
		packages = []string{"./..."}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, *keep, packages); err != nil {
		stop()
		fmt.Fprintln(os.Stderr, "next:", err)
		os.Exit(1)
	}
}

// run does the whole trial in a directory of its own and reports each step to w.
func run(ctx context.Context, w io.Writer, keep bool, packages []string) (err error) {
	root, err := output(ctx, ".", "git", "rev-parse", "--show-toplevel")
	if err != nil {
		return err
	}
	root = strings.TrimSpace(root)
	dir, err := os.MkdirTemp("", "runnel-next-")
	if err != nil {
		return err
	}
	defer func() {
		if keep {
			fmt.Fprintln(w, "# kept", dir)
		} else if e := os.RemoveAll(dir); err == nil {
			err = e
		}
	}()

	names, err := listFiles(ctx, root)
	if err != nil {
		return err
	}
	if err := copyFiles(root, dir, names); err != nil {
		return err
	}
	n, err := rewriteTree(dir, names)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "# %d files copied, %d import paths rewritten\n", len(names), n)

	mod, err := output(ctx, dir, "go", "mod", "edit", "-json")
	if err != nil {
		return err
	}
	edits, err := modEdits([]byte(mod))
	if err != nil {
		return err
	}
	// A file for the set in use may import a package that the newest has no more: tidy -e goes on, and the build decides.
	// build -gcflags=-e reports every error, not the first ten of a package.
	steps := [][]string{
		append([]string{"mod", "edit"}, edits...),
		{"mod", "tidy", "-e"},
		{"build", "-gcflags=-e", "-tags", tag, "./..."},
		append([]string{"test", "-tags", tag}, packages...),
	}
	for _, args := range steps {
		fmt.Fprintln(w, "# go", strings.Join(args, " "))
		if err := stream(ctx, w, dir, args); err != nil {
			return fmt.Errorf("go %s: %w", args[0], err)
		}
	}
	return nil
}

// stream runs the go command in dir and passes on what it prints.
func stream(ctx context.Context, w io.Writer, dir string, args []string) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, w, w
	return cmd.Run()
}

// output runs a command in dir and returns what it prints on standard output.
func output(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	b, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w", cmd, err)
	}
	return string(b), nil
}
