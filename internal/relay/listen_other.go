// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package relay

import (
	"errors"
	"syscall"
)

func reusePort(syscall.RawConn) error {
	return errors.New("several sockets per address need Linux")
}
