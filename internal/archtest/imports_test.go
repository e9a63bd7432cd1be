// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package archtest

import (
	"go/build/constraint"
	"strings"
)

// checkLayers finds packages without a layer and imports that do not point down. Tests may import any layer.
func checkLayers(t *tree) []finding {
	var out []finding
	for _, files := range t.packages() {
		if files[0].nested {
			continue
		}
		pkg := files[0].pkg
		from := layerOf(pkg)
		if from < 0 {
			out = append(out, findingf(files[0].path, "package %s has no layer: place it in tables_test.go", pkg))
			continue
		}
		for _, f := range files {
			if f.test {
				continue
			}
			for _, im := range f.imports {
				low, ok := im.local()
				if !ok {
					continue
				}
				if to := layerOf(low); to >= 0 && to <= from {
					out = append(out, findingf(t.at(im.pos), "%s (layer %q) imports %s (layer %q): %s",
						pkg, layers[from].name, low, layers[to].name, layers[to].why))
				}
			}
		}
	}
	return out
}

// checkClosed finds imports that a closed package does not have on its list, and internal ones where only public
// packages may be used.
func checkClosed(t *tree) []finding {
	var out []finding
	for _, f := range t.files {
		if f.test {
			continue
		}
		for _, im := range f.imports {
			for _, c := range closed {
				if matches(c.pkg, f.pkg) && !im.std() && !matchesAny(c.only, im.path) {
					out = append(out, findingf(t.at(im.pos), "%s may not import %s: %s", f.pkg, im.path, c.why))
				}
			}
			low, ok := im.local()
			if ok && (f.nested || matchesAny(publicOnly, f.pkg)) && under(low, "internal") {
				out = append(out, findingf(t.at(im.pos), "%s imports %s: it may use public packages only", f.pkg, low))
			}
		}
	}
	return out
}

// checkLabs finds shipped code that imports a package made for tests.
func checkLabs(t *tree) []finding {
	var out []finding
	for _, f := range t.files {
		if f.test || matchesAny(labs, f.pkg) || matchesAny(labUsers, f.pkg) {
			continue
		}
		for _, im := range f.imports {
			if low, ok := im.local(); ok && matchesAny(labs, low) {
				out = append(out, findingf(t.at(im.pos), "%s imports %s, which is for tests", f.pkg, low))
			}
		}
	}
	return out
}

// checkConfined finds imports of what belongs to other packages, in tests too, and files for the newest pion set where
// pion is not.
func checkConfined(t *tree) []finding {
	var out []finding
	for _, f := range t.files {
		if f.nested {
			continue
		}
		for _, c := range confined {
			if matchesAny(c.to, f.pkg) {
				continue
			}
			for _, im := range f.imports {
				if under(im.path, c.path) {
					out = append(out, findingf(t.at(im.pos), "%s imports %s, which only %s may: %s",
						f.pkg, im.path, strings.Join(c.to, ", "), c.why))
				}
			}
		}
		if !matches(nextPlace, f.pkg) && f.names(nextTag) {
			out = append(out, findingf(f.path, "build tag %s outside %s", nextTag, nextPlace))
		}
	}
	return out
}

// names reports whether the file's build constraint mentions the tag.
func (f *goFile) names(tag string) bool {
	for line := range strings.SplitSeq(f.src[:int(f.syntax.Package-f.syntax.FileStart)], "\n") {
		if !constraint.IsGoBuild(line) {
			continue
		}
		x, err := constraint.Parse(line)
		if err != nil {
			continue // the compiler will say so
		}
		found := false
		x.Eval(func(s string) bool { found = found || s == tag; return true })
		x.Eval(func(s string) bool { found = found || s == tag; return false })
		return found
	}
	return false
}
