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

// certCheck is how often, at most, the files of a certificate are looked at.
const certCheck = 10 * time.Second

// A certificate is read from its files, and again when they change, so that a renewal needs no restart and no signal. It
// looks when a client connects.
type certificate struct {
	certFile, keyFile string
	log               *slog.Logger

	mu      sync.Mutex // guards the following
	current *tls.Certificate
	stamp   [2]fileStamp
	checked time.Time
}

// A fileStamp tells whether a file has changed.
type fileStamp struct {
	modified time.Time
	size     int64
}

func loadCertificate(certFile, keyFile string, log *slog.Logger) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, log: log}
	if err := c.load(); err != nil {
		return nil, err
	}
	c.checked = time.Now()
	return c, nil
}

// load reads the files. The stamps are taken before: a change while reading is seen as one the next time.
func (c *certificate) load() error {
	stamp, err := c.look()
	if err != nil {
		return err
	}
	cert, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("certificate %s with key %s: %w", c.certFile, c.keyFile, err)
	}
	c.current, c.stamp = &cert, stamp
	return nil
}

func (c *certificate) look() (stamp [2]fileStamp, err error) {
	for i, name := range []string{c.certFile, c.keyFile} {
		info, err := os.Stat(name)
		if err != nil {
			return stamp, err
		}
		stamp[i] = fileStamp{info.ModTime(), info.Size()}
	}
	return stamp, nil
}

// get is for tls.Config.GetCertificate. Files that cannot be used, which they cannot while one is new and the other not,
// leave the old certificate in use.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if now.Sub(c.checked) < certCheck {
		return c.current, nil
	}
	c.checked = now
	stamp, err := c.look()
	if err == nil && stamp == c.stamp {
		return c.current, nil
	}
	if err == nil {
		err = c.load()
	}
	if err != nil {
		c.log.Warn("certificate not renewed", slog.Any("error", err))
		return c.current, nil
	}
	c.log.Info("certificate renewed", slog.Time("not_after", c.current.Leaf.NotAfter))
	return c.current, nil
}

// expires is when the certificate in use ends.
func (c *certificate) expires() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.current.Leaf.NotAfter
}
