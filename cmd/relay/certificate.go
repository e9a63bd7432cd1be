// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certCheck is how often, at most, the files of the certificate are looked at.
const certCheck = 10 * time.Second

// certificate is read from its files, and again when they change, so that a renewal needs no restart. It looks when a
// client connects.
type certificate struct {
	files [2]string // chain and key
	log   *slog.Logger

	mu      sync.Mutex // guards the following
	current *tls.Certificate
	stamps  [2]stamp
	checked time.Time
}

// stamp tells whether a file has changed.
type stamp struct {
	modified time.Time
	size     int64
}

func loadCertificate(chain, key string, log *slog.Logger) (*certificate, error) {
	c := &certificate{files: [2]string{chain, key}, log: log, checked: time.Now()}
	stamps, err := c.look()
	if err == nil {
		err = c.load(stamps)
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

func (c *certificate) look() (s [2]stamp, err error) {
	for i, name := range c.files {
		info, err := os.Stat(name)
		if err != nil {
			return s, err
		}
		s[i] = stamp{info.ModTime(), info.Size()}
	}
	return s, nil
}

// load reads the files. The stamps are from before: a change while reading is seen as one the next time.
func (c *certificate) load(s [2]stamp) error {
	cert, err := tls.LoadX509KeyPair(c.files[0], c.files[1])
	if err != nil {
		return fmt.Errorf("certificate %s with key %s: %w", c.files[0], c.files[1], err)
	}
	c.current, c.stamps = &cert, s
	return nil
}

// get is for tls.Config.GetCertificate. Files that cannot be used, as while one is new and the other not yet, leave
// the old certificate in use.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if now.Sub(c.checked) < certCheck {
		return c.current, nil
	}
	c.checked = now
	s, err := c.look()
	if err == nil && s == c.stamps {
		return c.current, nil
	}
	if err == nil {
		err = c.load(s)
	}
	if err != nil {
		c.log.Warn("certificate not renewed", slog.Any("error", err))
	} else {
		c.log.Info("certificate renewed", slog.Time("not_after", c.current.Leaf.NotAfter))
	}
	return c.current, nil
}
