// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !pionnext

package dtlsx

import "github.com/pion/dtls/v2/pkg/crypto/ciphersuite"

// digestlessDefect says that the library verifies ECDSA over an empty digest if it is let.
const digestlessDefect = true

func decrypt(g *ciphersuite.GCM, r record) ([]byte, error) { return g.Decrypt(r) }
