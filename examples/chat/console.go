// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"
)

// A lineReader is where lines are typed. Its end is io.EOF.
type lineReader interface {
	ReadLine() (string, error)
}

// openConsole makes a terminal of stdin and stdout if they are one, and else takes them as they are. restore undoes what
// was done to the terminal.
func openConsole(stdin, stdout *os.File) (in lineReader, out *screen, restore func(), err error) {
	inFD, outFD := int(stdin.Fd()), int(stdout.Fd())
	if !term.IsTerminal(inFD) || !term.IsTerminal(outFD) || os.Getenv("TERM") == "dumb" {
		return newPipe(stdin), &screen{w: stdout}, func() {}, nil
	}
	before, err := term.MakeRaw(inFD) // keys come one by one, and the line is edited here
	if err != nil {
		return nil, nil, nil, fmt.Errorf("terminal: %w", err)
	}
	t := &terminal{
		Terminal: term.NewTerminal(struct {
			io.Reader
			io.Writer
		}{stdin, stdout}, "> "),
		fd: outFD,
	}
	t.fit()
	out = &screen{w: t, human: true, colour: os.Getenv("NO_COLOR") == ""} // https://no-color.org
	restore = func() {
		fmt.Fprint(stdout, "\r\n")
		_ = term.Restore(inFD, before)
	}
	return t, out, restore, nil
}

// A terminal has a prompt, and everything is printed above it.
type terminal struct {
	*term.Terminal
	fd            int
	width, height int
}

// fit takes note of the size of the window, so that long lines wrap where they should. Called by one goroutine at a
// time: the screen's.
func (t *terminal) fit() {
	w, h, err := term.GetSize(t.fd)
	if err != nil || w == t.width && h == t.height {
		return
	}
	t.width, t.height = w, h
	_ = t.SetSize(w, h)
}

func (t *terminal) Write(b []byte) (int, error) {
	t.fit()
	return t.Terminal.Write(b)
}

// ReadLine returns io.EOF for Ctrl-C and Ctrl-D.
func (t *terminal) ReadLine() (string, error) {
	line, err := t.Terminal.ReadLine()
	if errors.Is(err, term.ErrPasteIndicator) {
		err = nil
	}
	return line, err
}

// A pipe reads lines from what is no terminal.
type pipe struct{ scan *bufio.Scanner }

func newPipe(r io.Reader) *pipe {
	p := &pipe{bufio.NewScanner(r)}
	p.scan.Buffer(nil, 4*maxText)
	return p
}

func (p *pipe) ReadLine() (string, error) {
	if p.scan.Scan() {
		return p.scan.Text(), nil
	}
	if err := p.scan.Err(); err != nil {
		return "", fmt.Errorf("standard input: %w", err)
	}
	return "", io.EOF
}
