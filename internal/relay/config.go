// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Errors of [New].
var (
	// ErrWeakSecret: a shared secret is shorter than MinSecret.
	ErrWeakSecret = errors.New("relay: secret too short")
	// ErrConfig: anything else that is wrong with a Config.
	ErrConfig = errors.New("relay: bad configuration")
)

// Config says what to relay, for whom, and how much. Zero values are safe defaults; for limits, a negative value
// means none unless said otherwise.
type Config struct {
	// PacketConns are the UDP sockets to serve. Each should have a specific address on a machine with several:
	// answers from 0.0.0.0 leave from the address the kernel prefers. The server closes them.
	PacketConns []net.PacketConn
	// STUNConns are UDP sockets on which nothing but STUN Binding requests is answered, within the same AnswerRate. They
	// have a port or an address that PacketConns have not: a client asks both to see whether its NAT uses a new port for
	// each destination. The server closes them.
	STUNConns []net.PacketConn
	// Listeners accept TURN over TCP, or over TLS when wrapped by tls.NewListener. The server closes them.
	Listeners []net.Listener
	// RelayIP is the IPv4 address advertised as relayed address. Required.
	RelayIP netip.Addr
	// BindIP is the local address that relay sockets are bound to when RelayIP is not an address of this machine, as
	// behind 1:1 NAT. Zero means RelayIP. Unspecified (0.0.0.0) binds to all.
	BindIP netip.Addr
	// ListenRelay opens the socket of a relayed address on a port of the range. nil means UDP on BindIP. It must fail
	// when the port is taken; another one is tried then.
	ListenRelay func(port int) (net.PacketConn, error)
	// HostAddrs lists the addresses of this machine, which clients may not reach. nil asks the system, every half
	// minute. AllowHost lets clients reach them, as far as the default policy allows: for development.
	HostAddrs func() []netip.Addr
	AllowHost bool

	// Secrets are shared with whoever mints credentials (see [Credential]). All are accepted, so that one can replace
	// another. Each must have MinSecret bytes; at least one is required.
	Secrets []string
	// Realm of the credentials. "" means "runnel". Short is good: it is in every answer to strangers.
	Realm string
	// AllowPeers opens parts of the default peer policy (see [Policy]).
	AllowPeers []netip.Prefix

	// MinPort and MaxPort bound the relay ports, inclusive. 0 means 49152 and 65535.
	MinPort, MaxPort uint16
	// PortRest is how long a released port is not reused. 0 means two minutes, negative not at all.
	PortRest time.Duration

	MaxAllocations int // in all; 0 means the size of the port range
	MaxPerUser     int // per user ID; 0 means 10; beyond, those by UDP whose client has been silent for 40 s make room
	MaxPermissions int // per allocation; 0 means 256, and there is no way to have none
	MaxChannels    int // per allocation; 0 means 128, and there is no way to have none
	MaxConns       int // streams in all; 0 means 8192
	MaxConnsPerIP  int // streams per IPv4 address or IPv6 /64; 0 means 64
	// AnswerRate and AnswerBurst bound what one source gets answered without valid credentials: STUN bindings,
	// challenges, errors. 0 means 10 per second and 20.
	AnswerRate  float64
	AnswerBurst int
	// BytesPerSecond bounds each allocation, both directions together; what exceeds it is dropped. 0 means no bound.
	BytesPerSecond int64

	// FirstMessage is how long a stream may stay silent, IdleStream how long it may live without an allocation. 0
	// means 10 and 30 seconds.
	FirstMessage, IdleStream time.Duration

	// Log gets few lines: nothing per packet, per message or per client above debug level. nil discards.
	Log *slog.Logger
	// Registerer receives the metrics. nil means none are exported.
	Registerer prometheus.Registerer
}

// withDefaults checks c and fills the gaps of a copy.
func (c *Config) withDefaults() (*Config, error) {
	d := *c
	d.RelayIP, d.BindIP = d.RelayIP.Unmap(), d.BindIP.Unmap()
	switch {
	case !d.RelayIP.Is4() || d.RelayIP.IsUnspecified():
		return nil, fmt.Errorf("%w: RelayIP must be an IPv4 address to advertise, is %q", ErrConfig, d.RelayIP)
	case len(d.PacketConns)+len(d.Listeners) == 0:
		return nil, fmt.Errorf("%w: nothing to serve", ErrConfig)
	case len(d.Secrets) == 0:
		return nil, fmt.Errorf("%w: no secret", ErrConfig)
	}
	for _, s := range d.Secrets {
		if len(s) < MinSecret {
			return nil, fmt.Errorf("%w: %d bytes, want at least %d", ErrWeakSecret, len(s), MinSecret)
		}
	}
	if slices.ContainsFunc(d.AllowPeers, func(p netip.Prefix) bool { return !p.IsValid() }) {
		return nil, fmt.Errorf("%w: invalid prefix in AllowPeers", ErrConfig)
	}
	set(&d.MinPort, 49152)
	set(&d.MaxPort, 65535)
	if d.MinPort > d.MaxPort {
		return nil, fmt.Errorf("%w: port range %d-%d", ErrConfig, d.MinPort, d.MaxPort)
	}
	if !d.BindIP.IsValid() {
		d.BindIP = d.RelayIP
	}
	set(&d.Realm, "runnel")
	set(&d.PortRest, 2*time.Minute)
	limit(&d.MaxAllocations, int(d.MaxPort)-int(d.MinPort)+1)
	limit(&d.MaxPerUser, 10)
	limit(&d.MaxConns, 8192)
	limit(&d.MaxConnsPerIP, 64)
	set(&d.AnswerRate, 10)
	set(&d.AnswerBurst, 20)
	set(&d.FirstMessage, 10*time.Second)
	set(&d.IdleStream, 30*time.Second)
	if d.MaxPermissions <= 0 {
		d.MaxPermissions = 256
	}
	if d.MaxChannels <= 0 {
		d.MaxChannels = 128
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.ListenRelay == nil {
		bind := d.BindIP
		d.ListenRelay = func(port int) (net.PacketConn, error) {
			return net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(bind, uint16(port))))
		}
	}
	return &d, nil
}

func set[T comparable](p *T, def T) {
	var zero T
	if *p == zero {
		*p = def
	}
}

// limit replaces 0 by the default and a negative limit by one that is never reached.
func limit(p *int, def int) {
	if *p == 0 {
		*p = def
	} else if *p < 0 {
		*p = int(^uint(0) >> 1)
	}
}

// systemAddrs lists the machine's addresses, and those by which a packet reaches it along with its neighbours: the
// broadcast address of each network, and the first, which is an old form of it.
func systemAddrs() ([]netip.Addr, error) {
	ifs, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	var out []netip.Addr
	for _, a := range ifs {
		n, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		ip, ok := netip.AddrFromSlice(n.IP)
		if !ok {
			continue
		}
		ip = ip.Unmap()
		out = append(out, ip)
		if ones, bits := n.Mask.Size(); bits == 32 && ones < 31 && ip.Is4() {
			first, last := ip.As4(), ip.As4()
			for i, m := range n.Mask {
				first[i] &= m
				last[i] |= ^m
			}
			out = append(out, netip.AddrFrom4(first), netip.AddrFrom4(last))
		}
	}
	return out, nil
}
