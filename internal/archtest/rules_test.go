// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package archtest

import (
	"fmt"
	"os"
	"testing"
)

// rule is one sentence of the house and the function that finds where it is broken.
type rule struct {
	name  string
	check func(*tree) []finding
}

var rules = []rule{
	{"layers", checkLayers},
	{"closed", checkClosed},
	{"labs", checkLabs},
	{"confined", checkConfined},
	{"machines", checkMachines},
	{"package-doc", checkPackageDoc},
	{"limitations", checkLimitations},
	{"package-name", checkPackageName},
	{"licence", checkLicence},
	{"length", checkLength},
	{"programs", checkPrograms},
	{"outside", checkOutside},
	{"links", checkLinks},
	{"tests", checkTests},
}

// finding is a place where a rule is broken, or, as a warning, nearly so.
type finding struct {
	where string // file, or file:line:column
	what  string
	warn  bool
}

func (f finding) String() string { return f.where + ": " + f.what }

func findingf(where, format string, args ...any) finding {
	return finding{where: where, what: fmt.Sprintf(format, args...)}
}

// TestTree holds the repository to every rule.
func TestTree(t *testing.T) {
	const root = "../.."
	tree, err := load(os.DirFS(root), ignoredBy(root))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := tree.text["go.mod"]; !ok || len(tree.files) == 0 {
		t.Fatalf("no Go module at %s: the rules have nothing to look at", root)
	}
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			for _, f := range r.check(tree) {
				if f.warn {
					t.Log(f)
				} else {
					t.Error(f)
				}
			}
		})
	}
}
