// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/seed-98f0d4c2/runnel/flow"
	"github.com/seed-98f0d4c2/runnel/internal/eventlog"
	"github.com/seed-98f0d4c2/runnel/internal/seal"
)

// maxEventLogFile is how long a file of EventLogDir becomes.
const maxEventLogFile = 1 << 30

// EventLogDir returns a function for [Config].EventLog that makes a file for each session in a directory, which must
// exist. It is named by the time, the peer and the side, such as 20260102T150405.000Z_ab3kf9xw_client.sqlog, is readable
// by its owner only, and ends after 1 GiB. Nobody removes old files.
func EventLogDir(dir string) func(SessionInfo) (io.WriteCloser, error) {
	return func(info SessionInfo) (io.WriteCloser, error) {
		side := "server"
		if info.Dialled {
			side = "client"
		}
		base := fmt.Sprintf("%s_%s_%s", info.Start.UTC().Format("20060102T150405.000Z"), info.Peer.Short(), side)
		for i := range 100 {
			name := base + ".sqlog"
			if i > 0 {
				name = fmt.Sprintf("%s_%d.sqlog", base, i)
			}
			f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
			if errors.Is(err, os.ErrExist) {
				continue
			}
			if err != nil {
				return nil, err
			}
			return &limitedFile{File: f, left: maxEventLogFile}, nil
		}
		return nil, fmt.Errorf("peer: no name is free for event log %s in %s", base, dir)
	}
}

// A limitedFile refuses to become too long.
type limitedFile struct {
	*os.File
	left int
}

var errEventLogFull = errors.New("peer: event log is as long as it may become")

func (f *limitedFile) Write(b []byte) (int, error) {
	if f.left -= len(b); f.left < 0 {
		return 0, errEventLogFull
	}
	return f.File.Write(b)
}

// openEventLog gives the session's events a file. That is not done before the peer has proven who it is, or strangers
// could fill the disk.
func (s *Session) openEventLog() {
	if s.record == nil {
		return
	}
	h := eventlog.Header{
		Title:  "runnel session of " + s.e.id.Short() + " with " + s.id.Short(),
		Name:   s.e.id.Short(),
		Client: s.dialled,
	}
	if s.proven {
		a, b := s.local, s.remote
		if s.role == seal.Responder {
			a, b = b, a
		}
		h.Group = fmt.Sprintf("%016x%016x", uint64(a), uint64(b))
	}
	info := s.info()
	s.record.Attach(h, func() (io.WriteCloser, error) { return s.e.cfg.EventLog(info) })
}

// closeEventLog ends it. Of a dial that failed there is a log too.
func (s *Session) closeEventLog() {
	if s.dialled {
		s.openEventLog()
	}
	s.record.Close()
}

// connectionStates are what qlog calls the stages of a connection. draft-ietf-quic-qlog-quic-events,
// connectivity:connection_state_updated.
var connectionStates = map[string]string{
	"start": "attempted", "handshake": "handshake_started", "keys": "handshake_completed", "ready": "handshake_confirmed",
}

// dropTriggers are what qlog calls the reasons for dropping a packet. transport:packet_dropped.
var dropTriggers = map[DropReason]string{
	DropForged: "payload_decrypt_error", DropReplayed: "duplicate", DropMalformed: "header_parse_error",
	DropUnexpected: "unexpected_packet",
}

// logTrace returns hooks that write the session's events to its log.
func (s *Session) logTrace() *Trace {
	t := s.record
	t.Event(s.born, "runnel:session_started").String("local", s.e.id.String()).String("peer", s.id.String()).
		Bool("dialled", s.dialled).Done()
	return &Trace{
		Flow: logFlowTrace(t),
		StageReached: func(e StageReached) {
			t.Event(e.Time, "runnel:stage_reached").String("name", e.Name).Done()
			if state := connectionStates[e.Name]; state != "" {
				t.Event(e.Time, "connectivity:connection_state_updated").String("new", state).Done()
			}
		},
		PacketReceived: func(e PacketReceived) {
			packetHeader(t.Event(e.Time, "transport:packet_received"), e.Number).Object("raw").Int("length", e.Size).
				End().Done()
		},
		PacketDropped: func(e PacketDropped) {
			t.Event(e.Time, "transport:packet_dropped").Object("raw").Int("length", e.Size).End().
				String("trigger", dropTriggers[e.Reason]).String("from", e.From.String()).Done()
		},
		PathSwitched: func(e PathSwitched) {
			ev := logPath(t.Event(e.Time, "runnel:path_switched"), "from", e.From)
			logPath(ev, "to", e.To).String("why", e.Why).Done()
		},
		PathsDead: func(e PathsDead) {
			logPath(t.Event(e.Time, "runnel:paths_dead"), "path", e.Path).String("why", e.Why).Done()
		},
		PathsResumed: func(e PathsResumed) {
			logPath(t.Event(e.Time, "runnel:paths_resumed"), "path", e.Path).Millis("gap", e.Gap).Done()
		},
		Ended: func(e Ended) { logEnded(t, e) },
	}
}

// packetHeader writes the header of a packet as qlog does. Runnel's packets are most like QUIC's short ones.
func packetHeader(e eventlog.Event, number uint64) eventlog.Event {
	return e.Object("header").String("packet_type", "1RTT").Uint("packet_number", number).End()
}

func logPath(e eventlog.Event, key string, p Path) eventlog.Event {
	return e.Object(key).String("kind", p.Kind.String()).String("local", p.Local.String()).
		String("remote", p.Remote.String()).Millis("rtt", p.RTT).End()
}

func logEnded(t *eventlog.Trace, e Ended) {
	ev := t.Event(e.Time, "connectivity:connection_closed")
	owner := "local"
	if ce, ok := errors.AsType[*CloseError](e.Err); ok {
		if ce.Remote {
			owner = "remote"
		}
		ev = ev.Uint("application_code", uint64(ce.Code))
	}
	ev.String("owner", owner).String("reason", e.Err.Error()).Done()
	st := &e.Stats
	t.Event(e.Time, "runnel:session_ended").String("stage", string(st.Stage)).
		Uint("packets_sent", st.PacketsSent).Uint("packets_received", st.PacketsReceived).
		Uint("packets_lost", st.Flow.PacketsLost).Uint("bytes_sent", st.BytesSent).
		Uint("bytes_received", st.BytesReceived).Uint("path_changes", st.PathChanges).Done()
}

// logFlowTrace returns the hooks for what package flow tells.
func logFlowTrace(t *eventlog.Trace) flow.Trace {
	ref := func(at time.Time, name string, f flow.Ref) eventlog.Event {
		ev := t.Event(at, name)
		if f.ID != flow.NoID {
			ev = ev.Uint("flow", f.ID)
		}
		return ev.Bool("incoming", f.Incoming)
	}
	phase := ""
	return flow.Trace{
		PacketSent: func(e flow.PacketSent) {
			ev := packetHeader(t.Event(e.Time, "transport:packet_sent"), e.Number).Object("raw").Int("length", e.Size).End()
			ev.Bool("ack_eliciting", e.AckEliciting).Bool("is_mtu_probe_packet", e.MTUProbe).Done()
		},
		PacketsAcked: func(e flow.PacketsAcked) {
			t.Event(e.Time, "runnel:packets_acked").Int("packets", e.Packets).Int("bytes", e.Bytes).
				Uint("largest", e.Largest).Millis("rtt", e.RTT).Int("bytes_in_flight", e.InFlight).Done()
		},
		PacketLost: func(e flow.PacketLost) {
			packetHeader(t.Event(e.Time, "recovery:packet_lost"), e.Number).Object("raw").Int("length", e.Size).End().
				Millis("age", e.Age).Done()
		},
		SpuriousLoss: func(e flow.SpuriousLoss) {
			packetHeader(t.Event(e.Time, "runnel:spurious_loss"), e.Number).Millis("age", e.Age).Done()
		},
		MetricsUpdated: func(e flow.Metrics) {
			ev := t.Event(e.Time, "recovery:metrics_updated").Millis("smoothed_rtt", e.SmoothedRTT)
			if e.MinRTT > 0 {
				ev = ev.Millis("min_rtt", e.MinRTT)
			}
			ev.Int("congestion_window", e.CongestionWindow).Int("bytes_in_flight", e.InFlight).
				Uint("pacing_rate", uint64(8*e.PacingRate)).Int("pto_count", e.ProbeTimeouts).
				Millis("queue_delay", e.QueueDelay).Int("max_packet", e.MaxPacket).String("ecn", e.ECN).Done()
			if e.Phase != phase {
				ev := t.Event(e.Time, "recovery:congestion_state_updated")
				if phase != "" {
					ev = ev.String("old", phase)
				}
				ev.String("new", e.Phase).String("controller", e.Controller).Done()
				phase = e.Phase
			}
		},
		FlowOpened: func(e flow.Opened) {
			ref(e.Time, "runnel:flow_opened", e.Flow).String("label", e.Label).Int("priority", int(e.Priority)).
				Bool("stream", e.Stream).Done()
		},
		FlowClosed: func(e flow.Closed) {
			ev := ref(e.Time, "runnel:flow_closed", e.Flow)
			if e.Err != nil {
				ev = ev.String("err", e.Err.Error())
			}
			ev.Done()
		},
		MessageSent: func(e flow.MessageSent) {
			ref(e.Time, "runnel:message_sent", e.Flow).Uint("seq", e.Seq).Int("length", e.Size).Done()
		},
		MessageDelivered: func(e flow.MessageDelivered) {
			ref(e.Time, "runnel:message_delivered", e.Flow).Uint("seq", e.Seq).Int("length", e.Size).Done()
		},
		MessageReceived: func(e flow.MessageReceived) {
			ref(e.Time, "runnel:message_received", e.Flow).Uint("seq", e.Seq).Int("length", e.Size).Done()
		},
		MessageAbandoned: func(e flow.MessageAbandoned) {
			ref(e.Time, "runnel:message_abandoned", e.Flow).Uint("seq", e.Seq).Int("length", e.Size).
				String("reason", e.Reason.String()).Done()
		},
		Blocked: func(e flow.Blocked) {
			ref(e.Time, "runnel:blocked", e.Flow).Bool("session", e.Session).Uint("limit", e.Limit).Done()
		},
	}
}
