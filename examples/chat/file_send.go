// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/seed-98f0d4c2/runnel/flow"
)

const (
	maxOutgoing = 16              // files sent at a time
	verdictTime = 3 * time.Minute // for the receiver to confirm once it has everything; an outage may come between
)

var errManyFiles = fmt.Errorf("%d files are being sent already", maxOutgoing)

// sendCommand sends a file to the peer that is named, or to the only one there is.
func (c *chat) sendCommand(args []string) error {
	if len(args) == 0 {
		return errors.New("/send: which file?")
	}
	ref := ""
	if len(args) > 1 {
		ref = args[1]
	}
	c.mu.Lock()
	l, err := c.recipient(ref)
	c.mu.Unlock()
	if err != nil {
		return err
	}
	f, size, err := openRegular(args[0])
	if err != nil {
		return err
	}
	select {
	case c.outgoing <- struct{}{}:
	default:
		f.Close()
		return errManyFiles
	}
	c.pending.add()
	c.wg.Go(func() {
		defer c.pending.done()
		defer func() { <-c.outgoing }()
		defer f.Close()
		c.sendFile(c.ctx, l, f, safeName(filepath.Base(args[0])), size)
	})
	return nil
}

// recipient is the link of the contact called ref, or of the only one connected. c.mu is held.
func (c *chat) recipient(ref string) (*link, error) {
	if ref != "" {
		ct, err := c.find(ref)
		if err != nil {
			return nil, err
		}
		if ct.link == nil {
			return nil, fmt.Errorf("%s is not connected", c.name(ct))
		}
		return ct.link, nil
	}
	var only *link
	for _, ct := range c.contacts {
		switch {
		case ct.link == nil:
		case only != nil:
			return nil, errors.New("/send: to whom?")
		default:
			only = ct.link
		}
	}
	if only == nil {
		return nil, errNotConnected
	}
	return only, nil
}

// openRegular opens a file whose size is known. It does not wait for the other end of a named pipe, as opening one would.
func openRegular(name string) (*os.File, int64, error) {
	if info, err := os.Stat(name); err != nil {
		return nil, 0, err
	} else if !info.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("%s is not a regular file", name)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}

// sendFile sends size bytes of f and says what came of it.
func (c *chat) sendFile(ctx context.Context, l *link, f io.Reader, name string, size int64) {
	to := "to=" + c.nameOf(l.ct)
	p := newProgress(c.out, "sending", name, size, to)
	sum, err := c.offerFile(ctx, l, f, fileOffer{Name: name, Size: size}, p)
	if err != nil {
		c.out.alarm("file failed %s: %v %s", name, explain(err), to)
		return
	}
	c.out.note("file sent %s %d sha256=%x rate=%s %s", name, size, sum, p.rate(), to)
}

// offerFile sends a file over a flow of its own, below lines in priority, and waits for the receiver's word.
func (c *chat) offerFile(ctx context.Context, l *link, f io.Reader, o fileOffer, p *progress) (digest, error) {
	s, err := l.s.OpenFlow(labelFile, &flow.Options{Priority: flow.Bulk, Metadata: marshal(o), Returns: 1})
	if err != nil {
		return digest{}, err
	}
	sum, err := sendContent(ctx, s, f, o.Size, p)
	if err != nil {
		if word := earlyWord(ctx, s); word != nil {
			err = word
		}
		s.Abort(abortCode(ctx))
		return digest{}, err
	}
	if err := s.Close(ctx); err != nil {
		s.Abort(abortCode(ctx))
		return digest{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, verdictTime)
	defer cancel()
	r, err := s.AcceptReturn(ctx)
	if err != nil {
		return digest{}, fmt.Errorf("no answer from the receiver: %w", err)
	}
	return sum, readResult(ctx, r)
}

// sendContent sends size bytes in chunks and then their hash.
func sendContent(ctx context.Context, s *flow.Sender, f io.Reader, size int64, p *progress) (digest, error) {
	h := sha256.New()
	buf := make([]byte, chunkSize)
	for left := size; left > 0; {
		b := buf[:min(left, chunkSize)]
		if _, err := io.ReadFull(f, b); err != nil {
			return digest{}, fmt.Errorf("the file has become shorter: %w", err)
		}
		h.Write(b)
		if _, err := s.Send(ctx, b); err != nil {
			return digest{}, err
		}
		p.add(len(b))
		left -= int64(len(b))
	}
	sum := digest(h.Sum(nil))
	_, err := s.Send(ctx, sum[:])
	return sum, err
}

// readResult returns nil if the receiver says that all is well.
func readResult(ctx context.Context, r *flow.Receiver) error {
	m, err := r.Recv(ctx)
	if err != nil {
		return fmt.Errorf("no answer from the receiver: %w", err)
	}
	return parseFileResult(bytes.TrimSpace(m.Data))
}

// earlyWord is what the receiver has said before it refused the rest, if it is here already.
func earlyWord(ctx context.Context, s *flow.Sender) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	r, err := s.AcceptReturn(ctx)
	if err != nil {
		return nil // it has said nothing
	}
	return readResult(ctx, r)
}

// abortCode tells quitting from failing.
func abortCode(ctx context.Context) uint64 {
	if ctx.Err() != nil {
		return codeQuit
	}
	return codeFailed
}
