// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package archtest

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

const header = "// Copyright 2026 The Runnel Authors\n// SPDX-License-Identifier: Apache-2.0\n\n"

// goSrc is a Go file with the licence header.
func goSrc(lines ...string) string { return header + strings.Join(lines, "\n") + "\n" }

// clean is a tree that keeps every rule.
var clean = map[string]string{
	"go.mod":                "module " + module + "\n",
	"docs/WIRE.md":          "See [the codecs](../internal/wire) and [more](more.md#top). `[not](a-link)`\n\n```\n[x](y)\n```\n",
	"docs/more.md":          "# Top\n\n[Go](https://go.dev) [up](#top) ![drawing](a.png)\n",
	"docs/a.png":            "\x89PNG\x00",
	"internal/wire/doc.go":  goSrc("// Package wire is the format.", "//", "// # Limitations", "//", "// None.", "package wire"),
	"internal/wire/wire.go": goSrc("package wire", "", "func Size() int { return 1 }"),
	"flow/doc.go": goSrc("// Package flow sends.", "//", "// # Limitations", "//", "// One.", "package flow", "",
		`import (`, `	"math/rand/v2"`, `	"net/netip"`, `	"time"`, ``, `	"`+module+`/internal/wire"`, `)`, ``,
		`var _ = rand.New`, `var _ netip.Addr`, `var _ time.Duration = time.Second`, `func F() int { return wire.Size() }`),
	"flow/stream.go":    goSrc("package flow", "", `import "context"`, "", "var _ = context.WithDeadline"),
	"flow/flow_test.go": goSrc("package flow", "", `import "time"`, "", "var start = time.Now()"),
	"cmd/relay/main.go": goSrc("// Relay relays.", "package main", "", `import _ "`+module+`/flow"`),
	"internal/pionx/icex/doc.go": goSrc("// Package icex adapts.", "package icex", "",
		`import _ "github.com/pion/ice/v2"`),
	"internal/pionx/icex/new.go":  goSrc("//go:build "+nextTag, "", "package icex"),
	"testdata/broken.go":          "not Go",
	"internal/seal/doc.go":        goSrc("// Package seal seals.", "package seal", "", `import _ "crypto/rand"`),
	"internal/netlab/lab_test.go": goSrc("// Package netlab is a lab.", "package netlab"),
	"bench/go.mod":                "module " + module + "/bench\n",
	"bench/cmd/compare/main.go": goSrc("// Compare compares.", "package main", "",
		`import (`, `	_ "github.com/pion/webrtc/v4"`, `	_ "`+module+`/flow"`, `	_ "`+module+`/bench/link"`, `)`),
}

// violations are the smallest changes to the clean tree that break each rule.
var violations = []struct {
	rule  string
	name  string
	files map[string]string
	want  string // part of the only finding
}{
	{"layers", "upward", map[string]string{
		"signaling/signaling.go": goSrc("package signaling", "", `import _ "`+module+`/peer"`),
	}, `imports peer (layer "peers")`},
	{"layers", "sideways", map[string]string{
		"mobility/mobility.go": goSrc("package mobility", "", `import _ "`+module+`/flow"`),
	}, `imports flow (layer "protocols")`},
	{"layers", "unplaced", map[string]string{"internal/strings/s.go": goSrc("package strings")}, "has no layer"},
	{"layers", "adapter to adapter", map[string]string{
		"internal/pionx/icex/x.go": goSrc("package icex", "", `import _ "`+module+`/internal/pionx/turnx"`),
	}, "imports internal/pionx/turnx"},
	{"closed", "of ours", map[string]string{
		"flow/x.go": goSrc("package flow", "", `import _ "`+module+`/internal/seal"`),
	}, "flow may not import " + module + "/internal/seal"},
	{"closed", "of others", map[string]string{
		"internal/wire/x.go": goSrc("package wire", "", `import _ "golang.org/x/crypto/hkdf"`),
	}, "may not import golang.org/x/crypto/hkdf"},
	{"closed", "example", map[string]string{
		"examples/chat/main.go": goSrc("package main", "", `import _ "`+module+`/internal/wire"`),
	}, "public packages only"},
	{"closed", "nested", map[string]string{
		"bench/link/link.go": goSrc("package link", "", `import _ "`+module+`/internal/wire"`),
	}, "public packages only"},
	{"length", "nested", map[string]string{
		"bench/link/link.go": goSrc("package link", strings.Repeat("\n", tooLongFile)),
	}, "split it"},
	{"labs", "shipped", map[string]string{
		"peer/peer.go": goSrc("package peer", "", `import _ "`+module+`/internal/netlab"`),
	}, "which is for tests"},
	{"confined", "pion", map[string]string{
		"peer/peer.go": goSrc("package peer", "", `import _ "github.com/pion/stun"`),
	}, "which only internal/pionx/... may"},
	{"confined", "pion in a test", map[string]string{
		"peer/peer_test.go": goSrc("package peer", "", `import _ "github.com/pion/logging"`),
	}, "which only internal/pionx/... may"},
	{"confined", "tag", map[string]string{
		"peer/peer.go": goSrc("//go:build linux && !"+nextTag, "", "package peer"),
	}, "build tag"},
	{"machines", "sockets", map[string]string{
		"flow/x.go": goSrc("package flow", "", `import _ "net/http"`),
	}, "machine imports net/http"},
	{"machines", "environment", map[string]string{
		"flow/x.go": goSrc("package flow", "", `import _ "os"`),
	}, "machine imports os"},
	{"machines", "system calls", map[string]string{
		"flow/x.go": goSrc("package flow", "", `import _ "syscall"`),
	}, "machine imports syscall"},
	{"machines", "randomness", map[string]string{
		"flow/x.go": goSrc("package flow", "", `import _ "crypto/rand"`),
	}, "machine imports crypto/rand"},
	{"machines", "old randomness", map[string]string{
		"flow/x.go": goSrc("package flow", "", `import _ "math/rand"`),
	}, "machine imports math/rand"},
	{"machines", "log", map[string]string{
		"flow/x.go": goSrc("package flow", "", `import _ "log/slog"`),
	}, "machine imports log/slog"},
	{"machines", "clock", map[string]string{
		"flow/x.go": goSrc("package flow", "", `import "time"`, "", "var x = time.Now()"),
	}, "time.Now in a machine"},
	{"machines", "clock as a value", map[string]string{
		"flow/x.go": goSrc("package flow", "", `import clock "time"`, "", "var x = clock.AfterFunc"),
	}, "time.AfterFunc in a machine"},
	{"machines", "clock without its name", map[string]string{
		"flow/x.go": goSrc("package flow", "", `import . "time"`, "", "var x = Now()"),
	}, "into its own scope"},
	{"machines", "clock in a context", map[string]string{
		"flow/x.go": goSrc("package flow", "", `import "context"`, "", "var x = context.WithTimeout"),
	}, "context.WithTimeout in a machine"},
	{"machines", "global source", map[string]string{
		"flow/x.go": goSrc("package flow", "", `import "math/rand/v2"`, "", "var x = rand.IntN(3)"),
	}, "math/rand/v2.IntN in a machine"},
	{"machines", "go", map[string]string{
		"flow/x.go": goSrc("package flow", "", "func f() { go f() }"),
	}, "go statement"},
	{"machines", "wait group", map[string]string{
		"flow/x.go": goSrc("package flow", "", `import "sync"`, "", "func f(g *sync.WaitGroup) { g.Go(func() {}) }"),
	}, "goroutine started"},
	{"package-doc", "none", map[string]string{"flow/doc.go": goSrc("package flow")}, "has no doc comment"},
	{"package-doc", "two", map[string]string{
		"flow/x.go": goSrc("// Package flow sends.", "package flow"),
	}, "has 2 doc comments (doc.go, x.go)"},
	{"package-doc", "elsewhere", map[string]string{
		"flow/doc.go": goSrc("package flow"), "flow/x.go": goSrc("// Package flow sends.", "package flow"),
	}, "move it to doc.go"},
	{"package-doc", "main elsewhere", map[string]string{
		"cmd/relay/main.go": goSrc("package main"), "cmd/relay/x.go": goSrc("// Relay relays.", "package main"),
	}, "move it to doc.go"},
	{"package-doc", "start", map[string]string{
		"internal/seal/doc.go": goSrc("// Seals packets.", "package seal"),
	}, `does not start with "Package seal"`},
	{"limitations", "none", map[string]string{
		"internal/wire/doc.go": goSrc("// Package wire is the format.", "package wire"),
	}, "does not end with"},
	{"limitations", "not last", map[string]string{
		"internal/wire/doc.go": goSrc("// Package wire is.", "//", "// # Limitations", "//", "// None.", "//",
			"// # Use", "//", "// So.", "package wire"),
	}, "does not end with"},
	{"package-name", "util", map[string]string{"internal/util/u.go": goSrc("package util")}, "says nothing"},
	{"licence", "missing", map[string]string{"flow/x.go": "package flow\n"}, "licence header"},
	{"licence", "as documentation", map[string]string{
		"flow/x.go": strings.TrimSuffix(header, "\n") + "package flow\n",
	}, "licence header"},
	{"length", "long", map[string]string{"flow/x.go": goSrc("package flow", strings.Repeat("\n", tooLongFile))}, "split it"},
	{"programs", "left by go build", map[string]string{"relay": "\x7fELF\x02\x01\x01\x00"}, "relay: is a program"},
	{"outside", "comment", map[string]string{"README.md": "See /wo" + "rk/x.\n"}, "line 1 mentions"},
	{"outside", "in code", map[string]string{"flow/x.go": goSrc("package flow", "", "// ../"+"shared/x")}, "line 6 mentions"},
	{"links", "gone", map[string]string{"docs/WIRE.md": "[a](nowhere.md)\n"}, `link "nowhere.md" leads nowhere`},
	{"links", "by reference", map[string]string{"README.md": "[a][b]\n\n[b]: docs/gone.md\n"}, `link "docs/gone.md"`},
	{"tests", "gone", map[string]string{"docs/more.md": "proven by `TestGone`\n"}, "there is no test TestGone"},
	{"links", "from the root", map[string]string{"README.md": "[a](more.md#top)\n"}, `link "more.md#top"`},
}

func loadMap(t *testing.T, files map[string]string) *tree {
	t.Helper()
	fsys := fstest.MapFS{}
	for name, text := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	tree, err := load(fsys, func(name string) bool { return name == "ignored" })
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// TestRulesFire breaks every rule in a small way and expects exactly that to be found.
func TestRulesFire(t *testing.T) {
	byRule := map[string]func(*tree) []finding{}
	for _, r := range rules {
		byRule[r.name] = r.check
	}
	fired := map[string]bool{}
	for _, v := range violations {
		t.Run(v.rule+"/"+v.name, func(t *testing.T) {
			files := maps.Clone(clean)
			maps.Copy(files, v.files)
			got := byRule[v.rule](loadMap(t, files))
			if len(got) != 1 || got[0].warn || !strings.Contains(got[0].String(), v.want) {
				t.Errorf("findings = %q, want one with %q", got, v.want)
			}
			fired[v.rule] = true
		})
	}
	for _, r := range rules {
		if !fired[r.name] {
			t.Errorf("rule %s is never broken: add a tree that does", r.name)
		}
	}
}

// TestRulesRest expects nothing to be found in a tree that keeps the rules.
func TestRulesRest(t *testing.T) {
	files := maps.Clone(clean)
	files[".git/x.go"] = "package x"
	files["ignored/x.go"] = "package x"
	tree := loadMap(t, files)
	for _, r := range rules {
		for _, f := range r.check(tree) {
			t.Errorf("%s: %s", r.name, f)
		}
	}
}

// TestLongFileWarns expects a file between the two bounds to be mentioned but not to fail.
func TestLongFileWarns(t *testing.T) {
	files := maps.Clone(clean)
	files["flow/x.go"] = goSrc("package flow", strings.Repeat("\n", longFile))
	got := checkLength(loadMap(t, files))
	if len(got) != 1 || !got[0].warn {
		t.Errorf("findings = %v, want one warning", got)
	}
}

// TestTables looks for rows of the tables that cannot mean what they say.
func TestTables(t *testing.T) {
	var all []string
	for _, l := range layers {
		all = append(all, l.packages...)
	}
	if c := slices.Compact(slices.Sorted(slices.Values(all))); len(c) != len(all) {
		t.Error("a pattern stands in two layers")
	}
	for _, pkg := range slices.Concat(machines, labs) {
		if layerOf(pkg) < 0 {
			t.Errorf("%s has no layer", pkg)
		}
	}
	for _, c := range closed {
		for _, p := range c.only {
			if low, ok := (importSpec{path: p}).local(); ok && layerOf(low) <= layerOf(c.pkg) {
				t.Errorf("%s may import %s, which is not in a lower layer", c.pkg, low)
			}
		}
	}
}
