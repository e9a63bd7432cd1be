// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build pionnext

package dtlsx

import (
	"github.com/pion/dtls/v2/pkg/crypto/ciphersuite"
	"github.com/pion/dtls/v2/pkg/protocol/recordlayer"
)

// digestlessDefect says that the library verifies ECDSA over an empty digest if it is let. This one refuses.
const digestlessDefect = false

// decrypt needs the header for the length of a connection ID only, and there is none.
func decrypt(g *ciphersuite.GCM, r record) ([]byte, error) { return g.Decrypt(recordlayer.Header{}, r) }
