// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package udp

import "net"

func raiseBuffers(c *net.UDPConn) { growBuffers(c) }
