// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package archtest

import (
	"bytes"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os/exec"
	"path"
	"slices"
	"strconv"
	"strings"
)

// module is the path of the module that these rules are about.
const module = "github.com/seed-98f0d4c2/runnel"

// tree is the part of a repository that the rules look at.
type tree struct {
	text     map[string]string // every file by slash-separated path from the root; binary ones are empty here
	files    []*goFile         // every Go file outside testdata, sorted by path
	programs []string          // what go build makes, for Linux, Windows or macOS
	fset     *token.FileSet
}

// goFile is one Go file of the tree, whatever its build constraints say.
type goFile struct {
	path    string // from the root
	pkg     string // directory, "." for the root
	src     string
	test    bool
	nested  bool // of another module, in a directory of its own
	syntax  *ast.File
	imports []importSpec
}

type importSpec struct {
	path string
	name string // the name it has in the file, "" where the file gives none
	pos  token.Pos
}

// load reads the tree. Paths for which skip is true are left out, directories with all they contain.
func load(fsys fs.FS, skip func(name string) bool) (*tree, error) {
	t := &tree{text: map[string]string{}, fset: token.NewFileSet()}
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed while we walk
		}
		if err != nil || name == "." {
			return err
		}
		if name == ".git" || skip(name) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() {
			return nil
		}
		b, err := fs.ReadFile(fsys, name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if bytes.IndexByte(b, 0) >= 0 {
			if bytes.HasPrefix(b, []byte("\x7fELF")) || bytes.HasPrefix(b, []byte("MZ")) || bytes.HasPrefix(b, []byte("\xcf\xfa\xed\xfe")) {
				t.programs = append(t.programs, name)
			}
			b = nil
		}
		t.text[name] = string(b)
		if strings.HasSuffix(name, ".go") && !inTestdata(name) {
			return t.addGo(name, string(b))
		}
		return nil
	})
	slices.SortFunc(t.files, func(a, b *goFile) int { return strings.Compare(a.path, b.path) })
	for _, f := range t.files {
		f.nested = t.inNested(f.pkg)
	}
	return t, err
}

// inNested reports whether a directory is part of a module other than the one at the root.
func (t *tree) inNested(dir string) bool {
	for ; dir != "."; dir = path.Dir(dir) {
		if _, ok := t.text[dir+"/go.mod"]; ok {
			return true
		}
	}
	return false
}

func (t *tree) addGo(name, src string) error {
	syntax, err := parser.ParseFile(t.fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	f := &goFile{
		path: name, pkg: path.Dir(name), src: src,
		test: strings.HasSuffix(name, "_test.go"), syntax: syntax,
	}
	for _, im := range syntax.Imports {
		p, err := strconv.Unquote(im.Path.Value)
		if err != nil {
			return err
		}
		spec := importSpec{path: p, pos: im.Pos()}
		if im.Name != nil {
			spec.name = im.Name.Name
		}
		f.imports = append(f.imports, spec)
	}
	t.files = append(t.files, f)
	return nil
}

// packages groups the Go files by directory, in order of path.
func (t *tree) packages() [][]*goFile {
	var out [][]*goFile
	byDir := map[string]int{}
	for _, f := range t.files {
		i, ok := byDir[f.pkg]
		if !ok {
			i = len(out)
			byDir[f.pkg] = i
			out = append(out, nil)
		}
		out[i] = append(out[i], f)
	}
	return out
}

// generated reports whether the file says that a program wrote it.
func (f *goFile) generated() bool { return ast.IsGenerated(f.syntax) }

// local is the directory of an import of this module, and whether it is one.
func (s importSpec) local() (string, bool) {
	if s.path == module {
		return ".", true
	}
	return strings.CutPrefix(s.path, module+"/")
}

// std reports whether the import is of the standard library, whose paths have no dot in their first element.
func (s importSpec) std() bool {
	first, _, _ := strings.Cut(s.path, "/")
	return !strings.Contains(first, ".")
}

// under reports whether p is the import path prefix or lies below it.
func under(p, prefix string) bool {
	return p == prefix || strings.HasPrefix(p, prefix+"/")
}

func inTestdata(name string) bool {
	return slices.Contains(strings.Split(path.Dir(name), "/"), "testdata")
}

// ignoredBy asks git which paths of the checkout at root it ignores. Without git, or outside a checkout, nothing is
// known to be ignored but what make writes.
func ignoredBy(root string) func(name string) bool {
	out, err := exec.Command("git", "-C", root, "ls-files", "-z", "--others", "--ignored",
		"--exclude-standard", "--directory").Output()
	if err != nil {
		return func(name string) bool { return name == "bin" }
	}
	ignored := map[string]bool{}
	for name := range strings.SplitSeq(string(out), "\x00") {
		ignored[strings.TrimSuffix(name, "/")] = true
	}
	return func(name string) bool { return ignored[name] }
}
