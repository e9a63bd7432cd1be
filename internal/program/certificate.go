// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package program

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

// A Certificate is read from its files, and again when they change, so that a renewal needs no restart and no signal. It
// looks when a client connects, and not more often than every 10 s. It is safe for concurrent use.
type Certificate struct {
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

// LoadCertificate reads a certificate chain and its private key, both PEM.
func LoadCertificate(chain, key string, log *slog.Logger) (*Certificate, error) {
	c := &Certificate{files: [2]string{chain, key}, log: log, checked: time.Now()}
	stamps, err := c.look()
	if err == nil {
		err = c.load(stamps)
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

func (c *Certificate) look() (s [2]stamp, err error) {
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
func (c *Certificate) load(s [2]stamp) error {
	cert, err := tls.LoadX509KeyPair(c.files[0], c.files[1])
	if err != nil {
		return fmt.Errorf("certificate %s with key %s: %w", c.files[0], c.files[1], err)
	}
	c.current, c.stamps = &cert, s
	return nil
}

// Get is for tls.Config.GetCertificate, and never fails. Files that cannot be used, which they cannot while one is new and
// the other not yet, leave the old certificate in use.
func (c *Certificate) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
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

// Expires is when the certificate in use ends.
func (c *Certificate) Expires() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.current.Leaf.NotAfter
}
