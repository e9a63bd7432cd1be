// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package archtest

import (
	"go/ast"
	"maps"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
)

// checkPackageDoc finds packages that do not have exactly one doc comment, in doc.go (a program's may be in main.go).
func checkPackageDoc(t *tree) []finding {
	var out []finding
	for _, files := range t.packages() {
		files = shipped(files)
		var with []string
		for _, f := range files {
			if f.syntax.Doc != nil {
				with = append(with, path.Base(f.path))
			}
		}
		name, pkg := files[0].syntax.Name.Name, files[0].pkg
		onlyTests := files[0].test
		switch {
		case len(with) == 0:
			out = append(out, findingf(pkg, "package %s has no doc comment", name))
		case len(with) > 1:
			out = append(out, findingf(pkg, "package %s has %d doc comments (%s)", name, len(with), strings.Join(with, ", ")))
		case onlyTests, with[0] == "doc.go", name == "main" && with[0] == "main.go":
		default:
			out = append(out, findingf(pkg, "package %s has its doc comment in %s: move it to doc.go", name, with[0]))
		}
		for _, f := range files {
			if f.syntax.Doc != nil && name != "main" && !strings.HasPrefix(f.syntax.Doc.Text(), "Package "+name+" ") {
				out = append(out, findingf(f.path, "doc comment does not start with %q", "Package "+name))
			}
		}
	}
	return out
}

// shipped are the files of a package that are not tests, or all where there are only tests.
func shipped(files []*goFile) []*goFile {
	out := slices.DeleteFunc(slices.Clone(files), func(f *goFile) bool { return f.test })
	if len(out) == 0 {
		return files
	}
	return out
}

var heading = regexp.MustCompile(`(?m)^# (.+)$`)

// checkLimitations finds libraries whose doc comment does not end with what they cannot do.
func checkLimitations(t *tree) []finding {
	var out []finding
	for _, files := range t.packages() {
		if files[0].syntax.Name.Name == "main" || !slices.ContainsFunc(files, exports) {
			continue
		}
		for _, f := range files {
			if f.test || f.syntax.Doc == nil {
				continue
			}
			heads := heading.FindAllStringSubmatch(f.syntax.Doc.Text(), -1)
			if len(heads) == 0 || heads[len(heads)-1][1] != "Limitations" {
				out = append(out, findingf(f.path, "doc comment does not end with a section %q", "# Limitations"))
			}
		}
	}
	return out
}

// exports reports whether the file adds to its package's exported API.
func exports(f *goFile) bool {
	if f.test {
		return false
	}
	return slices.ContainsFunc(f.syntax.Decls, func(d ast.Decl) bool {
		switch d := d.(type) {
		case *ast.FuncDecl:
			return d.Recv == nil && d.Name.IsExported()
		case *ast.GenDecl:
			return slices.ContainsFunc(d.Specs, func(s ast.Spec) bool {
				switch s := s.(type) {
				case *ast.TypeSpec:
					return s.Name.IsExported()
				case *ast.ValueSpec:
					return slices.ContainsFunc(s.Names, (*ast.Ident).IsExported)
				}
				return false
			})
		}
		return false
	})
}

// checkPackageName finds packages named after nothing.
func checkPackageName(t *tree) []finding {
	var out []finding
	for _, files := range t.packages() {
		if name := path.Base(files[0].pkg); slices.Contains(emptyNames, name) {
			out = append(out, findingf(files[0].pkg, "%q says nothing: name the package after what it provides", name))
		}
	}
	return out
}

var (
	fence    = regexp.MustCompile("(?ms)^ *```.*?^ *```")
	codeSpan = regexp.MustCompile("`[^`\n]*`")
	link     = regexp.MustCompile(`\]\(([^()\s]+)(?: "[^"]*")?\)|(?m:^ {0,3}\[[^\]]+\]: +(\S+))`)
)

// checkLinks finds links of Markdown files to files and directories that do not exist.
func checkLinks(t *tree) []finding {
	var out []finding
	for _, name := range slices.Sorted(maps.Keys(t.text)) {
		if !strings.HasSuffix(name, ".md") || inTestdata(name) {
			continue
		}
		text := codeSpan.ReplaceAllString(fence.ReplaceAllString(t.text[name], ""), "")
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			target := m[1] + m[2] // one of them is empty
			u, err := url.Parse(target)
			if err != nil {
				out = append(out, findingf(name, "link %q: %v", target, err))
				continue
			}
			if u.Scheme != "" || u.Host != "" || u.Path == "" {
				continue // elsewhere on the net, or a place in the same document
			}
			if !t.exists(path.Join(path.Dir(name), u.Path)) {
				out = append(out, findingf(name, "link %q leads nowhere", target))
			}
		}
	}
	return out
}

var testName = regexp.MustCompile("`((?:Test|Fuzz|Example)[A-Z][A-Za-z0-9_]*)`")

// checkTests finds tests that Markdown files name and nobody has written.
func checkTests(t *tree) []finding {
	written := map[string]bool{}
	for _, f := range t.files {
		for _, d := range f.syntax.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && f.test && fn.Recv == nil {
				written[fn.Name.Name] = true
			}
		}
	}
	var out []finding
	for _, name := range slices.Sorted(maps.Keys(t.text)) {
		if !strings.HasSuffix(name, ".md") || inTestdata(name) {
			continue
		}
		for _, m := range testName.FindAllStringSubmatch(t.text[name], -1) {
			if !written[m[1]] {
				out = append(out, findingf(name, "there is no test %s", m[1]))
			}
		}
	}
	return out
}

// exists reports whether the tree has a file or directory of that name.
func (t *tree) exists(name string) bool {
	if _, ok := t.text[name]; ok || name == "." {
		return true
	}
	for other := range t.text {
		if strings.HasPrefix(other, name+"/") {
			return true
		}
	}
	return false
}
