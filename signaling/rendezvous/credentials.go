// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package rendezvous

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"strconv"
	"time"

	"github.com/seed-98f0d4c2/runnel/signaling"
	"github.com/seed-98f0d4c2/runnel/signaling/internal/rvproto"
)

// credential mints credentials as "TURN REST API" (draft-uberti-behave-turn-rest-00 §2.2) and coturn's use-auth-secret
// have them. The relay computes the password again from the name, so nobody has to tell it anything.
func credential(secret string, id signaling.PeerID, expires time.Time) (username, password string) {
	username = strconv.FormatInt(expires.Unix(), 10) + ":" + id.String()
	mac := hmac.New(sha1.New, []byte(secret)) // SHA-1 is what the relays know; HMAC does not need its collision resistance
	mac.Write([]byte(username))
	return username, base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// services returns what the peer is told. Credentials are made for it alone.
func (s *Server) services(id signaling.PeerID, now time.Time) *rvproto.Services {
	out := &rvproto.Services{STUN: s.config.STUN}
	if len(s.config.Relays) == 0 {
		return out
	}
	var username, password string
	if len(s.config.Secrets) > 0 {
		username, password = credential(s.config.Secrets[0], id, now.Add(s.config.CredentialTTL))
		out.TTL = s.config.CredentialTTL.Milliseconds()
		s.counters.minted.Add(1)
	}
	for _, url := range s.config.Relays {
		out.Relays = append(out.Relays, rvproto.Relay{URL: url, Username: username, Credential: password})
	}
	return out
}

// renewal is when credentials are renewed: at three quarters of their life, so that a client that reconnects meanwhile
// is still in time. Zero means never.
func (s *Server) renewal() time.Duration {
	if len(s.config.Relays) == 0 || len(s.config.Secrets) == 0 {
		return 0
	}
	return s.config.CredentialTTL * 3 / 4
}
