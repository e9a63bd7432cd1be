// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

// Package logx is where the libraries behind the adapters write their log: a bridge from pion's logging to a
// slog.Logger, at debug level, since what they complain about is what strangers send and none of it is about our own work.
//
//	agent, err := ice.NewAgent(&ice.AgentConfig{LoggerFactory: logx.Factory{Log: c.Log}})
//
// pion warns about every bad packet that anybody sends it. Unsampled, that would give strangers a way to fill a disk:
// so each logger writes a bounded number of lines in a period, and the next one after that says how many were left out.
// A line that is not written is not formatted either.
//
// # Limitations
//
//   - Every line is at slog.LevelDebug; pion's own level is an attribute. What pion traces is discarded.
//   - The bound is per logger, and pion makes some for each agent, handshake or server: it does not hold for all together.
//   - Which lines are left out depends on their order alone: a flood of one warning hides others of its scope.
package logx
