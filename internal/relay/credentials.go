// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"strconv"
	"strings"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/pionx/stunx"
)

const (
	// MinSecret is the shortest shared secret that is accepted, in bytes.
	MinSecret = 16
	// maxUsername bounds what is hashed on behalf of strangers.
	maxUsername = 256
)

// Credential mints what a client presents to relays that know the secret: the user name is the time of expiry in Unix
// seconds, a colon and the user's ID, the password the HMAC-SHA1 of the user name (draft-uberti-behave-turn-rest §2).
// The ID is what quotas count by; it must not be empty.
func Credential(secret, id string, expires time.Time) (username, password string) {
	username = strconv.FormatInt(expires.Unix(), 10) + ":" + id
	return username, password1(secret, username)
}

func password1(secret, username string) string {
	h := hmac.New(sha1.New, []byte(secret))
	h.Write([]byte(username))
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

// identity is what a user name says.
type identity struct {
	id      string
	expires time.Time
}

// parseUsername takes a user name apart. Nothing it says is true before the password was checked.
func parseUsername(s string) (identity, bool) {
	if len(s) > maxUsername {
		return identity{}, false
	}
	when, id, ok := strings.Cut(s, ":")
	if !ok || id == "" {
		return identity{}, false
	}
	sec, err := strconv.ParseInt(when, 10, 64)
	if err != nil || sec <= 0 || sec > 1<<40 {
		return identity{}, false
	}
	return identity{id, time.Unix(sec, 0)}, true
}

// authenticate finds the secret under which the request msg is signed, and returns the user and the key. It is pure
// computation: it runs in the loop that relays everybody's packets.
func authenticate(secrets []string, realm string, msg []byte) (who identity, key []byte, reason string) {
	name, ok := stunx.Username(msg)
	if !ok {
		return identity{}, nil, "no_username"
	}
	if r, ok := stunx.Get(msg, stunx.Realm); !ok || string(r) != realm {
		return identity{}, nil, "realm"
	}
	if who, ok = parseUsername(name); !ok {
		return identity{}, nil, "username"
	}
	for _, s := range secrets {
		key := stunx.LongTermKey(name, realm, password1(s, name))
		if stunx.CheckIntegrity(msg, key) {
			return who, key, ""
		}
	}
	return identity{}, nil, "password"
}
