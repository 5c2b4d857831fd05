package rules_test

import (
	"go/ast"
	"go/token"
	"os"
	"strings"
	"testing"
)

// commentRule returns the exported names that nobody has explained: those of a
// package, methods of its types and of its interfaces. A group of constants or
// variables may share a comment. String methods explain themselves.
func commentRule(s source) (complaints []string) {
	if s.test() {
		return nil
	}
	need := func(name *ast.Ident, docs ...*ast.CommentGroup) {
		if !name.IsExported() {
			return
		}
		for _, doc := range docs {
			if strings.TrimSpace(doc.Text()) != "" {
				return
			}
		}
		complaints = append(complaints, s.at(name, "%s has no comment", name.Name))
	}
	for _, d := range s.file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if exportedReceiver(d) && (d.Recv == nil || d.Name.Name != "String") {
				need(d.Name, d.Doc)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				commentSpec(d, spec, need)
			}
		}
	}
	return complaints
}

// commentSpec asks for the comments of one line of a declaration.
func commentSpec(d *ast.GenDecl, spec ast.Spec, need func(*ast.Ident, ...*ast.CommentGroup)) {
	switch spec := spec.(type) {
	case *ast.ValueSpec:
		for _, name := range spec.Names {
			need(name, d.Doc, spec.Doc, spec.Comment)
		}
	case *ast.TypeSpec:
		docs := []*ast.CommentGroup{spec.Doc}
		if d.Lparen == token.NoPos {
			docs = append(docs, d.Doc)
		}
		need(spec.Name, docs...)
		if contract, ok := spec.Type.(*ast.InterfaceType); ok && spec.Name.IsExported() {
			for _, method := range contract.Methods.List {
				for _, name := range method.Names {
					// Methods in one paragraph share a comment, as fields do.
					need(name, method.Doc, method.Comment, above(contract.Methods.List, method))
				}
			}
		}
	}
}

// above returns the comment of the nearest method above that has one.
func above(all []*ast.Field, one *ast.Field) (doc *ast.CommentGroup) {
	for _, m := range all {
		if m == one {
			break
		}
		if m.Doc != nil {
			doc = m.Doc
		}
	}
	return doc
}

// exportedReceiver reports whether a function is one, or a method of an exported
// type.
func exportedReceiver(f *ast.FuncDecl) bool {
	if f.Recv == nil {
		return true
	}
	t := f.Recv.List[0].Type
	for {
		switch of := t.(type) {
		case *ast.StarExpr:
			t = of.X
		case *ast.IndexExpr:
			t = of.X
		case *ast.IndexListExpr:
			t = of.X
		case *ast.Ident:
			return of.IsExported()
		default:
			return false
		}
	}
}

func TestComments(t *testing.T) {
	for _, p := range packages(t) {
		if !within(p.ImportPath, library) {
			continue
		}
		described := false
		for _, name := range p.files(false) {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			s, err := parse(name, text)
			if err != nil {
				t.Fatal(err)
			}
			described = described || s.file.Doc != nil
			for _, complaint := range commentRule(s) {
				t.Error(complaint)
			}
		}
		if !described && len(p.files(false)) > 0 {
			t.Errorf("package %s has no comment", p.ImportPath)
		}
	}
}

func TestCommentRuleFails(t *testing.T) {
	text := `package a
func A() {}
// B is explained.
func B() {}
type C struct{}
func (c *C) D() {}
func (c C) String() string { return "" }
func (c *G[V]) D2() {}
type hidden struct{}
func (hidden) E() {}
const F = 1
// Both.
const (
	H = 1
	I = 2
)
var (
	J = 1 // is explained.
	K = 2
)
// L has methods.
type L interface {
	M()
	// N does.
	N()
	O()
}
type (
	// P is explained.
	P int
	Q int
)
`
	s, err := parse("a.go", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	same(t, commentRule(s), []string{
		"a.go:2: A has no comment", "a.go:5: C has no comment", "a.go:6: D has no comment", "a.go:8: D2 has no comment",
		"a.go:11: F has no comment", "a.go:19: K has no comment", "a.go:23: M has no comment", "a.go:31: Q has no comment",
	})
}
