// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package dtlsx

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"time"
)

// Identity is a key and a self-signed certificate for handshakes. It says nothing about who holds it: there is no
// name inside and it should not outlive the session or the endpoint that made it. It may be used by any number of
// handshakes at once.
type Identity struct {
	cert        tls.Certificate
	fingerprint [32]byte
}

// NewIdentity makes an ECDSA P-256 key and its certificate.
func NewIdentity() (*Identity, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("dtlsx: identity: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("dtlsx: identity: %w", err)
	}
	// Nobody looks at the validity: the pin is what counts. Fixed dates tell an observer nothing about our clock.
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: serial.Add(serial, big.NewInt(1)),
		NotBefore:    time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:     time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC),
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}, &x509.Certificate{}, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("dtlsx: identity: %w", err)
	}
	return &Identity{
		cert:        tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key},
		fingerprint: sha256.Sum256(der),
	}, nil
}

// Fingerprint returns the SHA-256 of the certificate, which the peer pins.
func (i *Identity) Fingerprint() [32]byte { return i.fingerprint }
