// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"go/parser"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// upgrade is one module of the newest set.
type upgrade struct {
	from    string // module path in use
	to      string // module path in the newest set
	version string // of to
}

// newest is the newest set whose members all resolve together. Modules of pion that are not named here come with these.
var newest = []upgrade{
	{"github.com/pion/dtls/v2", "github.com/pion/dtls/v3", "v3.1.15"},
	{"github.com/pion/ice/v2", "github.com/pion/ice/v4", "v4.4.8"},
	{"github.com/pion/logging", "github.com/pion/logging", "v0.2.4"},
	{"github.com/pion/srtp/v2", "github.com/pion/srtp/v3", "v3.1.0"},
	{"github.com/pion/stun", "github.com/pion/stun/v4", "v4.0.1"},
	{"github.com/pion/transport/v2", "github.com/pion/transport/v5", "v5.0.1"},
	{"github.com/pion/turn/v2", "github.com/pion/turn/v5", "v5.1.2"},
}

// major is the start of a path below a module that belongs to another major version of it.
var major = regexp.MustCompile(`^/v[0-9]+(/|$)`)

// rewritePath is the import path in the newest set of an import path in use, and whether they differ.
func rewritePath(p string) (string, bool) {
	for _, u := range newest {
		rest, ok := strings.CutPrefix(p, u.from)
		if !ok || rest != "" && rest[0] != '/' || major.MatchString(rest) {
			continue
		}
		return u.to + rest, u.to != u.from
	}
	return p, false
}

// rewriteImports returns the Go source with its import paths rewritten and nothing else touched, and how many were.
func rewriteImports(name string, src []byte) ([]byte, int, error) {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, name, src, parser.ImportsOnly)
	if err != nil {
		return nil, 0, err
	}
	n := 0
	for _, im := range slices.Backward(f.Imports) { // from the end, so that offsets stay true
		old, err := strconv.Unquote(im.Path.Value)
		if err != nil {
			return nil, 0, fmt.Errorf("%s: import %s: %w", name, im.Path.Value, err)
		}
		if p, ok := rewritePath(old); ok {
			from, to := fset.Position(im.Path.Pos()).Offset, fset.Position(im.Path.End()).Offset
			src = slices.Concat(src[:from], []byte(strconv.Quote(p)), src[to:])
			n++
		}
	}
	return src, n, nil
}

// modEdits returns the flags of "go mod edit" that turn the requirements of a go.mod, given in JSON as that command
// prints it, into those of the newest set. What the set needs besides is left to "go mod tidy".
func modEdits(mod []byte) ([]string, error) {
	var m struct {
		Require []struct{ Path string }
	}
	if err := json.Unmarshal(mod, &m); err != nil {
		return nil, fmt.Errorf("go.mod: %w", err)
	}
	var edits []string
	for _, r := range m.Require {
		if strings.HasPrefix(r.Path, "github.com/pion/") {
			edits = append(edits, "-droprequire="+r.Path)
		}
	}
	for _, u := range newest {
		edits = append(edits, "-require="+u.to+"@"+u.version)
	}
	return edits, nil
}
