// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package vnetx

import "github.com/pion/logging"

// silence discards what pion logs: a line per packet and hop, and a warning for each packet that a NAT turns away.
type silence struct{}

func (silence) NewLogger(string) logging.LeveledLogger { return silence{} }

func (silence) Trace(string)          {}
func (silence) Tracef(string, ...any) {}
func (silence) Debug(string)          {}
func (silence) Debugf(string, ...any) {}
func (silence) Info(string)           {}
func (silence) Infof(string, ...any)  {}
func (silence) Warn(string)           {}
func (silence) Warnf(string, ...any)  {}
func (silence) Error(string)          {}
func (silence) Errorf(string, ...any) {}
