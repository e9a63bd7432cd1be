// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/seed-98f0d4c2/runnel/flow"
)

// maxIncoming is how many files a peer may send at a time.
const maxIncoming = 8

// receiveFile takes a file that a peer sends and tells both users what came of it.
func (c *chat) receiveFile(ctx context.Context, l *link, r *flow.Receiver) {
	c.pending.add()
	defer c.pending.done()
	from := "from=" + c.nameOf(l.ct)
	o, err := parseFileOffer(r.Metadata())
	if err == nil && o.Size > c.maxFile {
		err = fmt.Errorf("%w: %d bytes are too many", errUnwanted, o.Size)
	}
	select {
	case l.files <- struct{}{}:
		defer func() { <-l.files }()
	default:
		err = fmt.Errorf("%w: %d at a time are enough", errUnwanted, maxIncoming)
	}
	var path string
	var sum digest
	p := newProgress(c.out, "receiving", o.Name, o.Size, from)
	if err == nil {
		path, sum, err = c.takeFile(ctx, r, o, p)
	}
	if err != nil {
		c.out.alarm("file failed %s: %v %s", o.Name, explain(err), from)
		l.answerFile(ctx, r, fileResult{Error: publicReason(err)}) // before the flow is refused: no answer is taken after
		r.Reject(codeFailed)
		return
	}
	c.out.note("file received %s %d sha256=%x rate=%s %s", path, o.Size, sum, p.rate(), from)
	l.answerFile(ctx, r, fileResult{OK: true})
	if _, err := r.Recv(ctx); !errors.Is(err, io.EOF) {
		r.Reject(codeMalformed) // more than was announced: it is of no use, and the file is whole
	}
}

// takeFile writes the file to disk. It returns its path.
func (c *chat) takeFile(ctx context.Context, r *flow.Receiver, o fileOffer, p *progress) (string, digest, error) {
	in, err := newIncoming(c.dir, o)
	if err != nil {
		return "", digest{}, err
	}
	defer in.discard() // has no effect after finish
	for !in.full() {
		m, err := r.Recv(ctx)
		if err != nil {
			return "", digest{}, noEOF(err)
		}
		if err := in.write(m.Data); err != nil {
			return "", digest{}, err
		}
		p.add(len(m.Data))
	}
	m, err := r.Recv(ctx)
	if err != nil {
		return "", digest{}, noEOF(err)
	}
	path, err := in.finish(m.Data)
	if err != nil {
		return "", digest{}, err
	}
	return path, digest(m.Data), nil
}

// noEOF is err, except that the sender must not end the flow yet.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: %w", errIncomplete, io.ErrUnexpectedEOF)
	}
	return err
}

// answerFile tells the sender on a return flow what came of its file.
func (l *link) answerFile(ctx context.Context, r *flow.Receiver, res fileResult) {
	ctx, cancel := context.WithTimeout(ctx, verdictTime)
	defer cancel()
	s, err := l.s.OpenFlow(labelResult, &flow.Options{Answers: r})
	if err != nil {
		return
	}
	if _, err := s.Send(ctx, marshal(res)); err != nil {
		s.Abort(codeFailed)
		return
	}
	_ = s.Close(ctx) // when it fails the session is over or the sender does not care
}

// publicReason is what the other side may know of an error: no paths of ours.
func publicReason(err error) string {
	for _, known := range []error{errIncomplete, errTooLong, errHash, errUnwanted, errBadOffer} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return "the file could not be written"
}
