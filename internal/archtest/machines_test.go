// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package archtest

import (
	"go/ast"
	"go/token"
	"path"
	"slices"
)

// checkMachines finds input, output, clocks, goroutines and global randomness in the packages that must be pure.
func checkMachines(t *tree) []finding {
	var out []finding
	for _, f := range t.files {
		if f.test || !slices.Contains(machines, f.pkg) {
			continue
		}
		watched := map[string]string{} // name in the file → import path of a package with denied functions
		for _, im := range f.imports {
			out = append(out, t.checkMachineImport(f, im)...)
			if _, ok := machineCalls[im.path]; !ok {
				continue
			}
			switch im.name {
			case "":
				watched[packageName(im.path)] = im.path
			case ".":
				out = append(out, findingf(t.at(im.pos), "machine imports %s into its own scope", im.path))
			default:
				watched[im.name] = im.path
			}
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				out = append(out, findingf(t.at(n.Pos()), "go statement in a machine: its driver has the goroutines"))
			case *ast.CallExpr:
				if s, ok := n.Fun.(*ast.SelectorExpr); ok && s.Sel.Name == "Go" {
					out = append(out, findingf(t.at(n.Pos()), "goroutine started in a machine: its driver has the goroutines"))
				}
			case *ast.SelectorExpr:
				x, ok := n.X.(*ast.Ident)
				if !ok {
					return true
				}
				if p := watched[x.Name]; slices.Contains(machineCalls[p], n.Sel.Name) && !f.excepted(p+"."+n.Sel.Name) {
					out = append(out, findingf(t.at(n.Pos()), "%s.%s in a machine: take time, timers and randomness as arguments", p, n.Sel.Name))
				}
			}
			return true
		})
	}
	return out
}

func (t *tree) checkMachineImport(f *goFile, im importSpec) []finding {
	for _, d := range machineImports {
		if !under(im.path, d.path) || slices.Contains(d.in, f.pkg) {
			continue
		}
		if slices.ContainsFunc(d.except, func(e string) bool { return under(im.path, e) }) {
			continue
		}
		return []finding{findingf(t.at(im.pos), "machine imports %s: %s", im.path, d.why)}
	}
	return nil
}

// excepted reports whether this file of a machine may name the function.
func (f *goFile) excepted(call string) bool {
	for _, e := range machineExceptions {
		if e.file == f.path && e.call == call {
			return true
		}
	}
	return false
}

// packageName is the name of the package at an import path of machineCalls.
func packageName(p string) string {
	if base := path.Base(p); base != "v2" {
		return base
	}
	return path.Base(path.Dir(p))
}

// at is a position as file:line:column.
func (t *tree) at(pos token.Pos) string { return t.fset.Position(pos).String() }
