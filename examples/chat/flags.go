// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/alecthomas/kong"

	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/signaling"
)

// flags are the command line. The help texts are the documentation of record.
type flags struct {
	Rendezvous string         `help:"Rendezvous server, ws:// or wss://. Without one, peers are added as ID@host:port, or found by --lan." placeholder:"URL"`
	Key        string         `help:"File with this peer's key, made when there is none. Default: chat.pem in the user's configuration." placeholder:"FILE" type:"path" xor:"identity"`
	Ephemeral  bool           `help:"A new identity that nobody can link to an earlier one." xor:"identity"`
	Nick       string         `help:"What others see. Default: the first characters of the ID." placeholder:"NAME"`
	Add        []string       `help:"Peer to add, ID or ID@host:port. Repeatable." placeholder:"ID" sep:"none"`
	AcceptFrom string         `help:"Who may start a session with us: any, or only added peers." enum:"any,added" default:"any"`
	Listen     netip.AddrPort `help:"Local UDP address. Default: any port on all interfaces." placeholder:"IP:PORT"`
	LAN        bool           `name:"lan" help:"Find peers on the local network, and be found there by those who know our ID."`
	RelayOnly  bool           `help:"Use relays only, and tell nobody our address."`
	Loopback   bool           `help:"Also use loopback addresses, for peers on this machine."`
	Dir        string         `help:"Where received files go." default:"." type:"existingdir"`
	MaxFile    int64          `help:"Largest file to receive, in MiB; 0 receives none." default:"4096"`
	Stay       bool           `help:"Do not quit at the end of piped input."`
	LogLevel   string         `help:"off, error, warn, info or debug." enum:"off,error,warn,info,debug" default:"error"`
}

// parseFlags returns the flags, or nil and the exit code.
func parseFlags(args []string, stdout, stderr io.Writer) (*flags, int) {
	var f flags
	exited := -1
	parser, err := kong.New(&f,
		kong.Name("chat"),
		kong.Description("Chat with peers named by their public keys. Type /help once it runs."),
		kong.DefaultEnvars("RUNNEL_CHAT"),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { exited = code }),
	)
	if err != nil {
		fmt.Fprintln(stderr, "chat:", err)
		return nil, exitRuntime
	}
	_, err = parser.Parse(args)
	switch {
	case exited >= 0:
		return nil, exited
	case err == nil && f.RelayOnly && f.Rendezvous == "":
		err = errors.New("--relay-only needs a --rendezvous, which knows the relays")
	}
	if err != nil {
		fmt.Fprintln(stderr, "chat:", err)
		fmt.Fprintln(stderr, "Run chat --help for the flags.")
		return nil, exitUsage
	}
	return &f, exitOK
}

// identity loads or makes the key.
func (f *flags) identity() (ed25519.PrivateKey, error) {
	if f.Ephemeral {
		return signaling.GenerateKey()
	}
	if f.Key != "" {
		return signaling.LoadOrCreateKey(f.Key)
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return nil, fmt.Errorf("%w; give --key or --ephemeral", err)
	}
	dir = filepath.Join(dir, "runnel")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return signaling.LoadOrCreateKey(filepath.Join(dir, "chat.pem"))
}

// listen gives c its endpoint.
func (f *flags) listen(ctx context.Context, c *chat, log *slog.Logger) error {
	key, err := f.identity()
	if err != nil {
		return err
	}
	cfg := &peer.Config{
		Key:        key,
		ListenAddr: f.Listen,
		Loopback:   f.Loopback,
		LAN:        f.LAN,
		Log:        log,
	}
	if f.RelayOnly {
		cfg.Addresses = func(peer.ID) peer.AddressPolicy { return peer.RelayOnly }
	}
	if f.Rendezvous != "" {
		client, err := signaling.NewClient(f.Rendezvous, key, &signaling.ClientConfig{Log: log})
		if err != nil {
			return err
		}
		cfg.Signaler = c.watchSignaling(client, f.Rendezvous)
	}
	if err := c.listen(ctx, cfg); err != nil {
		if cfg.Signaler != nil {
			_ = cfg.Signaler.Close()
		}
		return err
	}
	return nil
}

// newLog logs to stderr, or between the lines of a terminal.
func newLog(level string, out *screen, stderr io.Writer) *slog.Logger {
	var l slog.Level
	if l.UnmarshalText([]byte(level)) != nil { // off
		return slog.New(slog.DiscardHandler)
	}
	w := stderr
	if out.human {
		w = logLines{out}
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: l}))
}
