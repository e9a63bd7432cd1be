// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the server's counters. Every label has a handful of values fixed in the code: none names a client, a user
// or an address.
type metrics struct {
	allocate    *prometheus.CounterVec // result
	denied      *prometheus.CounterVec // reason
	authFailed  *prometheus.CounterVec // reason
	dropped     *prometheus.CounterVec // reason
	conns       *prometheus.CounterVec // result
	bindings    prometheus.Counter
	challenges  prometheus.Counter
	suppressed  prometheus.Counter
	acceptErrs  prometheus.Counter
	toPeer      traffic
	fromPeer    traffic
	allocations *prometheus.GaugeVec // transport
}

type traffic struct{ packets, bytes prometheus.Counter }

func (t *traffic) count(n int) {
	t.packets.Inc()
	t.bytes.Add(float64(n))
}

func newMetrics(s *Server, reg prometheus.Registerer) (*metrics, error) {
	const ns = "runnel_relay_"
	vec := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: ns + name, Help: help}, []string{label})
	}
	one := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: ns + name, Help: help})
	}
	packets := vec("packets_total", "Packets relayed, by direction.", "direction")
	bytes := vec("bytes_total", "Bytes of payload relayed, by direction.", "direction")
	m := &metrics{
		allocate:   vec("allocate_total", "Allocate requests with valid credentials, by result.", "result"),
		denied:     vec("policy_denied_total", "Peer addresses refused, by reason.", "reason"),
		authFailed: vec("auth_failed_total", "Requests with credentials that do not hold, by reason.", "reason"),
		dropped:    vec("drop_total", "Packets dropped, by reason.", "reason"),
		conns:      vec("streams_total", "Stream connections, by what became of them at accept.", "result"),
		bindings:   one("bindings_total", "STUN Binding requests answered."),
		challenges: one("challenges_total", "Requests answered with a challenge or an error for want of credentials."),
		suppressed: one("suppressed_total", "Requests left unanswered because their source asks too much."),
		acceptErrs: one("accept_errors_total", "Temporary errors of Accept, each followed by a new attempt."),
		toPeer:     traffic{packets.WithLabelValues("to_peer"), bytes.WithLabelValues("to_peer")},
		fromPeer:   traffic{packets.WithLabelValues("from_peer"), bytes.WithLabelValues("from_peer")},
		allocations: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: ns + "allocations", Help: "Live allocations, by transport of the client.",
		}, []string{"transport"}),
	}
	if reg == nil {
		return m, nil
	}
	gauge := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: ns + name, Help: help}, f)
	}
	for _, c := range []prometheus.Collector{
		m.allocate, m.denied, m.authFailed, m.dropped, m.conns, m.bindings, m.challenges, m.suppressed, m.acceptErrs,
		packets, bytes, m.allocations,
		gauge("ports_free", "Relay ports that could be given out now.", func() float64 {
			return float64(s.ports.available(time.Now()))
		}),
		gauge("streams", "Open stream connections.", func() float64 { return float64(s.conns.live()) }),
		gauge("draining", "1 while no new allocations are made.", func() float64 {
			if s.draining.Load() {
				return 1
			}
			return 0
		}),
	} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
