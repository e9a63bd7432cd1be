// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

// Command rendezvous introduces peers to each other.
//
// For development nothing is needed:
//
//	rendezvous --dev
//
// In production it wants a name, a certificate, and what the relay printed when it started:
//
//	rendezvous --name rendezvous.example --tls-cert cert.pem --tls-key key.pem \
//		--relay "turn:203.0.113.5:3478?transport=udp" --stun 203.0.113.5:3478 --relay-secret-file /run/secrets/relay
//
// Every flag may be given as an environment variable, RUNNEL_RENDEZVOUS_ and its name in upper case. When it listens it
// prints one line to standard output, "listening url=wss://rendezvous.example:8443/v1"; logs go to standard error.
//
// SIGTERM and SIGINT tell the clients and then end the program; a second one ends it at once. It exits with 0 after a
// shutdown, 1 for an error while running or a shutdown cut short, 2 for wrong flags, and 78 for a configuration that
// makes no sense. See docs/OPERATIONS.md.
package main

import (
	"io"
	"net/netip"
	"os"
	"time"

	"github.com/alecthomas/kong"

	"github.com/seed-98f0d4c2/runnel/internal/program"
)

// flags are the command line. The help texts are the documentation of record.
type flags struct {
	Listen      string   `help:"Address to serve clients at; port 0 lets the system choose. Default :8443, with --dev 127.0.0.1:8080." placeholder:"ADDR"`
	Name        string   `help:"Host in the URLs that clients use. They sign it. Required without --dev." placeholder:"HOST"`
	Alias       []string `help:"Further host in such URLs. Repeatable." placeholder:"HOST"`
	TLSCert     string   `name:"tls-cert" help:"Certificate chain, PEM. It is read again when the file changes." placeholder:"FILE"`
	TLSKey      string   `name:"tls-key" help:"Private key of the certificate, PEM." placeholder:"FILE"`
	AllowOrigin []string `help:"Host of web pages that may connect. Repeatable." placeholder:"PATTERN"`

	Relay           []string      `help:"TURN URL to hand out, as the relay prints it. Repeatable." placeholder:"URL"`
	STUN            []string      `name:"stun" help:"STUN server to hand out. Repeatable." placeholder:"HOST:PORT"`
	RelaySecret     string        `help:"Secret shared with the relays. Others can see it in the list of processes: prefer the file." placeholder:"TEXT"`
	RelaySecretFile string        `help:"File with the secret shared with the relays." placeholder:"FILE"`
	CredentialTTL   time.Duration `name:"credential-ttl" help:"How long relay credentials are good; they are renewed in time." default:"10m"`

	MaxConnections      int            `help:"Connections in all; -1 for no limit." default:"50000"`
	MaxConnectionsPerIP int            `name:"max-connections-per-ip" help:"Connections per IPv4 address or IPv6 /64; -1 for no limit." default:"100"`
	TrustedProxy        []netip.Prefix `help:"Network of proxies whose X-Forwarded-For counts. With one, and without a certificate, the proxy is expected to do TLS. Repeatable." placeholder:"CIDR"`

	MetricsListen   string        `help:"Address to serve /metrics, /livez and /readyz at, not for the public; off for none. Default off, with --dev 127.0.0.1:0." placeholder:"ADDR"`
	LogFormat       string        `help:"text or json. Default json, with --dev text." enum:",text,json" default:"" placeholder:"FORMAT"`
	LogLevel        string        `help:"debug, info, warn or error. Default info, with --dev debug." enum:",debug,info,warn,error" default:"" placeholder:"LEVEL"`
	ShutdownTimeout time.Duration `help:"How long a shutdown may take until connections are broken off." default:"10s"`

	Dev     bool             `help:"For development: plain WebSocket on the loopback interface, no name and no certificate needed."`
	Version kong.VersionFlag `help:"Print the version and exit."`
}

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr, program.Signals()))
}

// run is main without the process around it. It returns the exit code.
func run(args []string, stdout, stderr io.Writer, signals <-chan os.Signal) int {
	p := &program.Program{
		Name:        "rendezvous",
		Description: "Introduces Runnel peers to each other and hands out relays.",
		Stdout:      stdout,
		Stderr:      stderr,
		Signals:     signals,
	}
	return p.Run(args, new(flags))
}

// Logging implements [program.Flags].
func (f *flags) Logging() program.Logging {
	return program.Logging{Format: f.LogFormat, Level: f.LogLevel, Dev: f.Dev}
}
