package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A claim is a test that says it shows a requirement.
type claim struct {
	pkg  string // directory below the module's root
	name string // as written, verbs of Sprintf included
}

// suite is the package whose cases the backends run; they stand in its files,
// not in _test.go files.
const suite = "transport/transporttest"

// claimedIDs returns the requirement ids that a test's name begins with:
// "H2-001 H3-002 what it shows", or TestH2_001_WhatItShows.
func claimedIDs(name string) (ids []string) {
	if m := functionID.FindStringSubmatch(name); m != nil {
		return []string{m[1] + "-" + m[2]}
	}
	for _, word := range strings.FieldsFunc(name, func(r rune) bool { return r == ' ' || r == '_' }) {
		if !idPattern.MatchString(word) {
			break
		}
		ids = append(ids, word)
	}
	return ids
}

var functionID = regexp.MustCompile(`^Test(H2|H3|BP|DS|FW)_([0-9]+)(?:_|$)`)

// scan finds the claims in the module's test files.
func scan(root string) (map[string][]claim, error) {
	claims := map[string][]claim{}
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			if name := d.Name(); rel != "." && (strings.HasPrefix(name, ".") || name == "testdata" || name == "node_modules" || rel == "internal/conformance") {
				return filepath.SkipDir
			}
			return nil
		}
		pkg := path.Dir(rel)
		if !strings.HasSuffix(rel, "_test.go") && !(pkg == suite && strings.HasSuffix(rel, ".go")) {
			return nil
		}
		names, err := testNames(file)
		if err != nil {
			return err
		}
		for _, name := range names {
			for _, id := range claimedIDs(name) {
				if c := (claim{pkg, name}); !slices.Contains(claims[id], c) {
					claims[id] = append(claims[id], c)
				}
			}
		}
		return nil
	})
	return claims, err
}

// testNames returns the names of a file's test functions and those of its
// string literals that begin as the name of a subtest for a requirement does.
func testNames(file string) (names []string, err error) {
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			if n.Recv == nil && len(claimedIDs(n.Name.Name)) > 0 {
				names = append(names, n.Name.Name)
			}
		case *ast.BasicLit:
			if n.Kind == token.STRING {
				if s, err := strconv.Unquote(n.Value); err == nil && len(claimedIDs(s)) > 0 {
					names = append(names, s)
				}
			}
		}
		return true
	})
	return names, nil
}
