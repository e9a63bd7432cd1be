// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package rendezvous

import "github.com/prometheus/client_golang/prometheus"

// A metric is a family of values out of [Stats]. All label values are here, so no client can add a series.
type metric struct {
	desc   *prometheus.Desc
	kind   prometheus.ValueType
	series []series
}

type series struct {
	label string // empty in a family without labels
	value func(*Stats) float64
}

func family(kind prometheus.ValueType, name, help, label string, s ...series) metric {
	var labels []string
	if label != "" {
		labels = []string{label}
	}
	return metric{prometheus.NewDesc("runnel_rendezvous_"+name, help, labels, nil), kind, s}
}

func count(label string, v func(*Stats) uint64) series {
	return series{label, func(s *Stats) float64 { return float64(v(s)) }}
}

func level(label string, v func(*Stats) int) series {
	return series{label, func(s *Stats) float64 { return float64(v(s)) }}
}

var metrics = []metric{
	family(prometheus.GaugeValue, "connections", "WebSocket connections.", "state",
		level("registered", func(s *Stats) int { return s.Connections - s.Unregistered }),
		level("unregistered", func(s *Stats) int { return s.Unregistered })),
	family(prometheus.GaugeValue, "sessions", "Registered peers, connected or expected back.", "state",
		level("attached", func(s *Stats) int { return s.Sessions - s.Detached }),
		level("detached", func(s *Stats) int { return s.Detached })),
	family(prometheus.GaugeValue, "buffered_bytes", "Payloads on their way to clients.", "",
		level("", func(s *Stats) int { return s.BufferedBytes })),
	family(prometheus.GaugeValue, "draining", "1 while the server shuts down.", "",
		series{"", func(s *Stats) float64 {
			if s.Draining {
				return 1
			}
			return 0
		}}),
	family(prometheus.CounterValue, "refused_total", "Connections refused before registration.", "reason",
		count("ip_limit", func(s *Stats) uint64 { return s.RefusedIP }),
		count("capacity", func(s *Stats) uint64 { return s.RefusedFull }),
		count("not_websocket", func(s *Stats) uint64 { return s.NotWebSocket })),
	family(prometheus.CounterValue, "registrations_total", "Attempts to register.", "result",
		count("new", func(s *Stats) uint64 { return s.Registered }),
		count("resumed", func(s *Stats) uint64 { return s.Resumed }),
		count("unauthorized", func(s *Stats) uint64 { return s.Unauthorized })),
	family(prometheus.CounterValue, "sends_total", "Envelopes that clients sent.", "result",
		count("ok", func(s *Stats) uint64 { return s.SendOK }),
		count("not_found", func(s *Stats) uint64 { return s.SendNotFound }),
		count("rate_limited", func(s *Stats) uint64 { return s.SendRateLimited }),
		count("too_large", func(s *Stats) uint64 { return s.SendTooLarge }),
		count("busy", func(s *Stats) uint64 { return s.SendBusy }),
		count("invalid", func(s *Stats) uint64 { return s.SendInvalid })),
	family(prometheus.CounterValue, "delivered_total", "Envelopes whose receiver confirmed them.", "",
		count("", func(s *Stats) uint64 { return s.Delivered })),
	family(prometheus.CounterValue, "dropped_total", "Envelopes accepted and lost with their session.", "",
		count("", func(s *Stats) uint64 { return s.Dropped })),
	family(prometheus.CounterValue, "credentials_total", "Relay credentials made.", "",
		count("", func(s *Stats) uint64 { return s.Minted })),
	family(prometheus.CounterValue, "limited_total", "How often a limit applied.", "limit",
		count("messages", func(s *Stats) uint64 { return s.LimitedMessages }),
		count("pair", func(s *Stats) uint64 { return s.LimitedPair }),
		count("target", func(s *Stats) uint64 { return s.LimitedTarget }),
		count("buffer", func(s *Stats) uint64 { return s.LimitedBuffer })),
	family(prometheus.CounterValue, "ended_total", "Sessions ended by the server.", "reason",
		count("replaced", func(s *Stats) uint64 { return s.Replaced }),
		count("expired", func(s *Stats) uint64 { return s.Expired }),
		count("slow", func(s *Stats) uint64 { return s.Slow }),
		count("silent", func(s *Stats) uint64 { return s.Silent }),
		count("malformed", func(s *Stats) uint64 { return s.Malformed })),
	family(prometheus.CounterValue, "unknown_frames_total", "Frames of unknown types, ignored.", "",
		count("", func(s *Stats) uint64 { return s.UnknownFrames })),
}

// Describe implements [prometheus.Collector].
func (s *Server) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range metrics {
		ch <- m.desc
	}
}

// Collect implements [prometheus.Collector].
func (s *Server) Collect(ch chan<- prometheus.Metric) {
	st := s.Stats()
	for _, m := range metrics {
		for _, v := range m.series {
			var labels []string
			if v.label != "" {
				labels = []string{v.label}
			}
			ch <- prometheus.MustNewConstMetric(m.desc, m.kind, v.value(&st), labels...)
		}
	}
}
