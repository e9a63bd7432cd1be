// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/pionx/stunx"
	"github.com/seed-98f0d4c2/runnel/internal/udp"
)

// A prober is a UDP socket that asks STUN servers.
type prober struct {
	c     *udp.Conn
	local netip.AddrPort
	done  sync.WaitGroup
	other chan netip.AddrPort // where anything else has come from

	mu      sync.Mutex
	pending map[[12]byte]chan<- netip.AddrPort
}

func newProber(ctx context.Context, v6 bool) (*prober, error) {
	pc, err := udp.Listen(ctx, "udp"+map[bool]string{true: "6", false: "4"}[v6], netip.AddrPort{})
	if err != nil {
		return nil, err
	}
	p := &prober{c: udp.New(pc), other: make(chan netip.AddrPort, 16), pending: make(map[[12]byte]chan<- netip.AddrPort)}
	p.local = p.c.LocalAddr()
	p.done.Go(p.read)
	return p, nil
}

func (p *prober) close() {
	_ = p.c.Close()
	p.done.Wait()
}

func (p *prober) read() {
	buf := make([]byte, udp.MaxBatch)
	for {
		r, err := p.c.ReadBatch(buf)
		if err != nil {
			if udp.Temporary(err) {
				continue
			}
			return
		}
		for b := buf[:r.N]; len(b) > 0; b = b[min(r.Segment, len(b)):] {
			p.handle(b[:min(r.Segment, len(b))], r.From)
		}
	}
}

func (p *prober) handle(b []byte, from netip.AddrPort) {
	if stunx.Sane(b) {
		if tx, mapped, err := stunx.ParseBinding(b); err == nil {
			p.mu.Lock()
			c := p.pending[tx]
			delete(p.pending, tx)
			p.mu.Unlock()
			if c != nil {
				c <- mapped
			}
			return
		}
	}
	select {
	case p.other <- from:
	default:
	}
}

var errSilent = errors.New("no answer")

const (
	askTime  = 3 * time.Second
	askFirst = 400 * time.Millisecond // until the question is repeated, doubling
)

// padding is an attribute that servers must ignore: bit 15 says so.
const padding = stunx.Attr(0xC0DE)

// ask has a server say how it sees this socket. The question has pad bytes more than it needs. The round trip is that of
// the question that was answered.
func (p *prober) ask(ctx context.Context, server netip.AddrPort, pad int) (mapped netip.AddrPort, rtt time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	err = errSilent
	for wait := askFirst; ctx.Err() == nil; wait *= 2 {
		tx := stunx.NewTransaction()
		m := stunx.NewBuilder(nil, stunx.Binding, stunx.Request, tx)
		if pad > 0 {
			m.Add(padding, make([]byte, pad))
		}
		answer := make(chan netip.AddrPort, 1)
		p.mu.Lock()
		p.pending[tx] = answer
		p.mu.Unlock()
		began := time.Now()
		if e := p.c.WriteTo(m.Bytes(), server); e != nil {
			return netip.AddrPort{}, 0, e
		}
		timer := time.NewTimer(wait)
		select {
		case mapped = <-answer:
			timer.Stop()
			return mapped, time.Since(began), nil
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
		p.mu.Lock()
		delete(p.pending, tx)
		p.mu.Unlock()
	}
	return netip.AddrPort{}, 0, err
}

// lookup returns the addresses of "host:port", one of each family.
func lookup(ctx context.Context, hostport string) ([]netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		return nil, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, err
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	var out []netip.AddrPort
	for _, v6 := range []bool{false, true} {
		for _, ip := range ips {
			if ip = ip.Unmap(); ip.Is6() == v6 {
				out = append(out, netip.AddrPortFrom(ip, uint16(n)))
				break
			}
		}
	}
	return out, nil
}
