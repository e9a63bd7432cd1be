// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

// Command relay is a STUN and TURN server for Runnel peers that cannot reach each other directly.
//
// For development nothing is needed; it listens on the loopback interface and prints a secret it made up:
//
//	relay --dev
//
// In production it wants the secret it shares with the rendezvous server, and the public address if this machine does
// not have it itself:
//
//	relay --secret-file /run/secrets/relay --external-ip 198.51.100.7
//
// Every flag may be given as an environment variable, RUNNEL_RELAY_ and its name in upper case. When it listens it
// prints two lines to standard output, the addresses ("listening udp=… tcp=…") and what to tell the rendezvous server
// ("rendezvous flags: …"); logs go to standard error.
//
// SIGTERM and SIGINT let nobody new in and end the program when the last client has left or --shutdown-timeout is over;
// a second one ends it at once. It exits with 0 after a shutdown, 1 for an error while running or clients cut off, 2
// for wrong flags, and 78 for a configuration that makes no sense. See docs/OPERATIONS.md.
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
	Listen     []string `help:"Address to serve UDP and TCP at; port 0 lets the system choose. Repeatable: give each address of a machine with several. Default :3478, with --dev 127.0.0.1:3478." placeholder:"ADDR"`
	TLSListen  []string `name:"tls-listen" help:"Address to serve TURN over TLS at. Repeatable." placeholder:"ADDR"`
	TLSCert    string   `name:"tls-cert" help:"Certificate chain, PEM. It is read again when the file changes." placeholder:"FILE"`
	TLSKey     string   `name:"tls-key" help:"Private key of the certificate, PEM." placeholder:"FILE"`
	STUNListen []string `name:"stun-listen" help:"Another UDP address, or port, to answer STUN at and nothing else. Clients see by two whether their NAT is a hard one. Repeatable." placeholder:"ADDR"`
	Sockets    int      `help:"UDP sockets per address, to use several cores. Linux only. 0 means one per core." default:"1"`

	ExternalIP netip.Addr `name:"external-ip" help:"Public IPv4 address of the relay, if no --listen names it." placeholder:"IP"`
	BindIP     netip.Addr `name:"bind-ip" help:"Local address of relayed traffic. Default the external one if this machine has it, else all." placeholder:"IP"`
	PortRange  string     `help:"UDP ports of relayed addresses." default:"49152-65535" placeholder:"MIN-MAX"`

	Secret     string `help:"Secret shared with the rendezvous server, 16 bytes or more. Others can see it in the list of processes: prefer the file." placeholder:"TEXT"`
	SecretFile string `help:"File with the shared secret; further lines are accepted as well, for rotation." placeholder:"FILE"`
	Realm      string `help:"Realm of the credentials." default:"runnel"`

	AllowPeer        []netip.Prefix `help:"Network that clients may reach although it is private or reserved. Repeatable." placeholder:"CIDR"`
	MaxAllocations   int            `help:"Allocations in all; 0 for as many as there are ports." default:"0"`
	MaxPerUser       int            `help:"Allocations per user; -1 for no limit." default:"10"`
	MaxConnections   int            `help:"TCP and TLS connections in all; -1 for no limit." default:"8192"`
	MaxConnsPerIP    int            `name:"max-connections-per-ip" help:"TCP and TLS connections per IPv4 address or IPv6 /64; -1 for no limit." default:"64"`
	MaxBytesPerSec   int64          `name:"max-bytes-per-second" help:"Rate of each allocation, both directions together; 0 for no limit." default:"0"`
	AnswersPerSecond float64        `help:"Answers per second to one source without credentials; -1 for no limit." default:"10"`

	MetricsListen   string        `help:"Address to serve /metrics, /livez and /readyz at, not for the public." placeholder:"ADDR"`
	LogFormat       string        `help:"text or json. Default json, with --dev text." enum:",text,json" default:"" placeholder:"FORMAT"`
	LogLevel        string        `help:"debug, info, warn or error." enum:"debug,info,warn,error" default:"info" placeholder:"LEVEL"`
	ShutdownTimeout time.Duration `help:"How long a shutdown waits for clients to leave." default:"30s"`

	Dev     bool             `help:"For development: loopback interface, private and loopback peers allowed, strangers answered without limit, a secret made up and printed."`
	Version kong.VersionFlag `help:"Print the version and exit."`
}

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr, program.Signals()))
}

// run is main without the process around it. It returns the exit code.
func run(args []string, stdout, stderr io.Writer, signals <-chan os.Signal) int {
	p := &program.Program{
		Name:        "relay",
		Description: "Relays traffic between Runnel peers that cannot reach each other (STUN and TURN).",
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
