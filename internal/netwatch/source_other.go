// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !linux && !windows && !darwin && !dragonfly && !freebsd && !netbsd && !openbsd

package netwatch

import "errors"

func open() (source, error) { return nil, errors.ErrUnsupported }
