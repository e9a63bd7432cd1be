// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package eventlog

import "time"

// record returns the first record of a file. draft-ietf-quic-qlog-main-schema (0.3), "Streamable JSON Text Sequences".
func (h *Header) record(start time.Time) []byte {
	b := append([]byte{recordSeparator}, `{"qlog_version":"0.3","qlog_format":"JSON-SEQ","title":`...)
	b = appendString(b, h.Title)
	b = append(b, `,"trace":{"vantage_point":{"name":`...)
	b = appendString(b, h.Name)
	b = append(b, `,"type":`...)
	side := "server"
	if h.Client {
		side = "client"
	}
	b = appendString(b, side)
	b = append(b, `},"common_fields":{"time_format":"relative","reference_time":`...)
	b = appendFloat(b, float64(start.UnixMicro())/1000)
	b = append(b, `,"protocol_type":["RUNNEL"]`...)
	if h.Group != "" {
		b = append(b, `,"group_id":`...)
		b = appendString(b, h.Group)
	}
	return append(b, "}}}\n"...)
}
