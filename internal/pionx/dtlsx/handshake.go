// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package dtlsx

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/pion/dtls/v2"
	"github.com/pion/dtls/v2/pkg/crypto/elliptic"

	"github.com/seed-98f0d4c2/runnel/internal/pionx/logx"
)

// Errors of this package. [Handshake.Err] wraps one of them, or the error of the context that ended the handshake.
var (
	ErrConfig        = errors.New("dtlsx: bad configuration")
	ErrNoFingerprint = errors.New("dtlsx: no fingerprint to pin the peer's certificate to")
	ErrFingerprint   = errors.New("dtlsx: the peer's certificate is not the one announced")
	ErrClosed        = errors.New("dtlsx: handshake closed")
	ErrHandshake     = errors.New("dtlsx: handshake failed")
)

// exporterLabel is the RFC 5705 label of the secret.
const exporterLabel = "EXPORTER-runnel-v1"

// mtu bounds the datagrams of a handshake; Runnel's own header comes on top.
const mtu = 1100

// Config describes a handshake.
type Config struct {
	// Identity is our certificate. Required.
	Identity *Identity
	// Client sends the first flight. Exactly one side must be it.
	Client bool
	// RemoteFingerprint is the SHA-256 of the certificate that the peer must show. Zero is refused with
	// ErrNoFingerprint unless AnyFingerprint is set.
	RemoteFingerprint [32]byte
	// AnyFingerprint accepts any certificate if RemoteFingerprint is zero: the way to dial an address about which
	// nothing else is known. Whoever answers must be authenticated afterwards.
	AnyFingerprint bool
	// Write sends a datagram of at most 1100 bytes to the peer. The bytes are valid during the call only. It is
	// called from goroutines of the handshake, or from within Deliver, never two at a time; it must not block and
	// must not call Close. It is not called once Close has returned. Required.
	Write func(b []byte)
	// FlightInterval is the time after which an unanswered flight is repeated. Zero means 80 ms; values are
	// kept within 10 ms and 10 s.
	FlightInterval time.Duration
	// Log gets what the library logs, at debug level. Nil discards.
	Log *slog.Logger
}

func (c *Config) flightInterval() time.Duration {
	if c.FlightInterval == 0 {
		return 80 * time.Millisecond
	}
	return min(max(c.FlightInterval, 10*time.Millisecond), 10*time.Second)
}

// Handshake is a handshake that runs by itself. Its methods may be called from any goroutine.
type Handshake struct {
	cfg    Config
	cancel context.CancelCauseFunc
	pipe   *pipe
	done   chan struct{} // closed when the result below is final
	ended  chan struct{} // closed when the last goroutine is about to end

	err      error
	exporter [32]byte

	mu   sync.Mutex
	seen [32]byte // fingerprint of the certificate for which the peer has proven the key
}

// Start begins a handshake in the background. It ends when both sides have finished, when something is wrong, or
// with ctx, whichever is first; on a silent network only ctx ends it. Close it in any case.
func Start(ctx context.Context, c *Config) *Handshake {
	h := &Handshake{done: make(chan struct{}), ended: make(chan struct{})}
	switch {
	case c == nil || c.Identity == nil || c.Write == nil:
		h.err = fmt.Errorf("%w: Identity and Write are required", ErrConfig)
	case c.RemoteFingerprint == [32]byte{} && !c.AnyFingerprint:
		h.err = ErrNoFingerprint
	}
	if h.err != nil {
		h.cancel = func(error) {}
		h.pipe = newPipe(true, 0, nil)
		h.pipe.detach()
		close(h.done)
		close(h.ended)
		return h
	}
	h.cfg = *c
	h.pipe = newPipe(c.Client, c.flightInterval(), c.Write)
	ctx, h.cancel = context.WithCancelCause(ctx)
	go h.run(ctx)
	return h
}

func (h *Handshake) run(ctx context.Context) {
	defer close(h.ended)
	defer h.cancel(nil)
	h.exporter, h.err = h.shake(ctx)
	if h.err == nil {
		h.pipe.complete()
	} else {
		h.exporter = [32]byte{}
		h.pipe.detach()
	}
	close(h.done)
}

// shake runs the library's connection from beginning to end. When it returns, nothing of it is left.
func (h *Handshake) shake(ctx context.Context) (secret [32]byte, err error) {
	conn, err := connect(ctx, h.pipe, h.cfg.Client, h.config())
	if err != nil {
		_ = h.pipe.Close() // always nil
		if ctx.Err() != nil {
			return secret, fmt.Errorf("%w: %w", ErrHandshake, context.Cause(ctx))
		}
		return secret, fmt.Errorf("%w: %w", ErrHandshake, err)
	}
	// From here on the library has nothing more to say: not its close_notify, and not a repetition of its last
	// flight, which the pipe takes care of.
	h.pipe.mute()
	state := stateOf(conn)
	_ = conn.Close() // only says that the notify was not sent

	// The library has asked verify already. Nothing rests on that alone.
	if err := h.verify(state.PeerCertificates); err != nil {
		return secret, fmt.Errorf("%w: %w", ErrHandshake, err)
	}
	key, err := state.ExportKeyingMaterial(exporterLabel, nil, len(secret))
	if err != nil {
		return secret, fmt.Errorf("%w: %w", ErrHandshake, err)
	}
	copy(secret[:], key)
	return secret, nil
}

// config is where the hard rules are. Each line has a test that attacks without it.
func (h *Handshake) config() *dtls.Config {
	return &dtls.Config{
		Certificates: []tls.Certificate{h.cfg.Identity.cert},
		CipherSuites: []dtls.CipherSuiteID{dtls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256},
		// Exactly one. The library's default list has {8,7}, for which it verifies ECDSA over an empty digest.
		SignatureSchemes:     []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256},
		EllipticCurves:       []elliptic.Curve{elliptic.X25519},
		ExtendedMasterSecret: dtls.RequireExtendedMasterSecret,
		ClientAuth:           dtls.RequireAnyClientCert,
		// The chain is not verified because there is none: the pin is.
		InsecureSkipVerify: true,
		VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) error {
			err := h.verify(raw)
			if err == nil && !h.cfg.Client {
				h.pipe.keysExpected()
			}
			return err
		},
		InsecureSkipVerifyHello: true,
		FlightInterval:          h.cfg.flightInterval(),
		MTU:                     mtu,
		LoggerFactory:           logx.Factory{Log: h.cfg.Log},
	}
}

// verify compares the peer's certificate with the pin.
func (h *Handshake) verify(raw [][]byte) error {
	if len(raw) == 0 {
		return fmt.Errorf("%w: there is none", ErrFingerprint)
	}
	got := sha256.Sum256(raw[0])
	want := &h.cfg.RemoteFingerprint
	if *want == ([32]byte{}) {
		if !h.cfg.AnyFingerprint {
			return ErrNoFingerprint
		}
	} else if subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
		return ErrFingerprint
	}
	h.mu.Lock()
	h.seen = got
	h.mu.Unlock()
	return nil
}

// Deliver takes a datagram that has arrived from the peer; it is copied. It never blocks: what is malformed, what does
// not belong to a handshake, and what exceeds the limits is dropped and counted.
func (h *Handshake) Deliver(b []byte) { h.pipe.deliver(b) }

// Done is closed when the handshake has succeeded or failed.
func (h *Handshake) Done() <-chan struct{} { return h.done }

// Err returns nil while the handshake runs and after it has succeeded, else what went wrong.
func (h *Handshake) Err() error {
	select {
	case <-h.done:
		return h.err
	default:
		return nil
	}
}

// Exporter returns the secret that both sides share, or zero unless the handshake has succeeded.
func (h *Handshake) Exporter() [32]byte {
	select {
	case <-h.done:
		return h.exporter
	default:
		return [32]byte{}
	}
}

// RemoteFingerprint returns the SHA-256 of the certificate whose key the peer has proven to hold, or zero if it has
// not come so far.
func (h *Handshake) RemoteFingerprint() [32]byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.seen
}

// Dropped counts datagrams and records of the peer that were not passed on.
func (h *Handshake) Dropped() uint64 { return h.pipe.dropped.Load() }

// Close ends the handshake, if it still runs, with ErrClosed, and frees everything. Nothing is sent to the peer, not
// even by way of goodbye: from the moment Close returns Write is not called any more. It waits for the goroutines of
// the handshake, which takes at most one FlightInterval and normally no time at all. A server that is closed right
// after it has finished leaves a client whose last flight was lost without an answer.
func (h *Handshake) Close() {
	h.pipe.detach()
	h.cancel(ErrClosed)
	<-h.ended
}
