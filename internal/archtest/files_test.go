// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package archtest

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

var licence = regexp.MustCompile(
	`^// Copyright 20\d\d The Runnel Authors\n// SPDX-License-Identifier: Apache-2\.0\n\n`,
)

// checkLicence finds Go files that do not start with the two lines of the licence and an empty one, without which the
// licence would become the package's documentation.
func checkLicence(t *tree) []finding {
	var out []finding
	for _, f := range t.files {
		if !licence.MatchString(f.src) && !f.generated() {
			out = append(out, findingf(f.path, "does not start with the licence header, which is\n"+
				"// Copyright 2026 The Runnel Authors\n// SPDX-License-Identifier: Apache-2.0\n(empty line)"))
		}
	}
	return out
}

// checkLength finds files that hold more than one idea, as far as their length tells.
func checkLength(t *tree) []finding {
	var out []finding
	for _, f := range t.files {
		if f.test || f.generated() {
			continue
		}
		n := strings.Count(f.src, "\n")
		switch {
		case n > tooLongFile:
			out = append(out, findingf(f.path, "%d lines; at most %d: split it by idea", n, tooLongFile))
		case n > longFile:
			w := findingf(f.path, "%d lines; more than %d are rarely one idea", n, longFile)
			w.warn = true
			out = append(out, w)
		}
	}
	return out
}

// checkPrograms finds what go build has left in the tree, where the next commit takes it along.
func checkPrograms(t *tree) []finding {
	var out []finding
	for _, name := range t.programs {
		out = append(out, findingf(name, "is a program: remove it, and build into bin"))
	}
	return out
}

// checkOutside finds mentions of what lies outside the repository, in files of every kind.
func checkOutside(t *tree) []finding {
	var out []finding
	for _, name := range slices.Sorted(maps.Keys(t.text)) {
		for i, line := range slices.Collect(strings.SplitSeq(t.text[name], "\n")) {
			for _, s := range outside {
				if strings.Contains(line, s) {
					out = append(out, findingf(name, "line %d mentions %q, which is not in the repository", i+1, s))
				}
			}
		}
	}
	return out
}
