package rules_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// source is one parsed Go file.
type source struct {
	name string
	set  *token.FileSet
	file *ast.File
	// lines is the length of the file.
	lines int
}

func parse(name string, text []byte) (source, error) {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, name, text, parser.ParseComments|parser.SkipObjectResolution)
	return source{name, set, file, bytes.Count(text, []byte("\n"))}, err
}

func (s source) test() bool { return strings.HasSuffix(s.name, "_test.go") }

// at begins a complaint.
func (s source) at(n ast.Node, format string, args ...any) string {
	return fmt.Sprintf("%s:%d: ", filepath.ToSlash(s.name), s.set.Position(n.Pos()).Line) + fmt.Sprintf(format, args...)
}

// Budgets. Reviews ask for much less: half of all files within 150 lines, half of
// all functions within 12.
const (
	fileLines     = 700
	functionLines = 120
)

// longRule returns what is too long to be read in one go.
func longRule(s source) (complaints []string) {
	if s.lines > fileLines {
		complaints = append(complaints, s.at(s.file, "%d lines, at most %d", s.lines, fileLines))
	}
	for name, f := range s.functions() {
		if n := s.length(f); n > functionLines {
			complaints = append(complaints, s.at(f, "%s is %d lines long, at most %d", name, n, functionLines))
		}
	}
	return complaints
}

// functions yields the file's declared functions by name.
func (s source) functions() func(yield func(string, *ast.FuncDecl) bool) {
	return func(yield func(string, *ast.FuncDecl) bool) {
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && !yield(f.Name.Name, f) {
				return
			}
		}
	}
}

func (s source) length(n ast.Node) int {
	return s.set.Position(n.End()).Line - s.set.Position(n.Pos()).Line + 1
}

// stateRule returns what happens or changes without being asked for: init
// functions, and variables of a package that are neither errors, typed keys,
// embedded files, patterns, templates nor interface pins.
func stateRule(s source) (complaints []string) {
	if s.test() {
		return nil
	}
	for name, f := range s.functions() {
		if name == "init" && f.Recv == nil {
			complaints = append(complaints, s.at(f, "init"))
		}
	}
	for _, d := range s.file.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.VAR {
			continue
		}
		for _, spec := range g.Specs {
			v := spec.(*ast.ValueSpec)
			embedded := directive(v.Doc, "//go:embed") || len(g.Specs) == 1 && directive(g.Doc, "//go:embed")
			for i, name := range v.Names {
				if name.Name == "_" || embedded || i < len(v.Values) && constant(name.Name, v.Values[i]) {
					continue
				}
				complaints = append(complaints, s.at(name, "variable %s of the package", name.Name))
			}
		}
	}
	return complaints
}

func directive(doc *ast.CommentGroup, prefix string) bool {
	return doc != nil && slices.ContainsFunc(doc.List, func(c *ast.Comment) bool { return strings.HasPrefix(c.Text, prefix+" ") })
}

// constant reports whether a variable's value is one that nobody will change.
func constant(name string, value ast.Expr) bool {
	if selected, ok := value.(*ast.SelectorExpr); ok { // an error under a second name
		isError := func(s string) bool { return strings.HasPrefix(s, "Err") || strings.HasPrefix(s, "err") }
		return isError(name) && isError(selected.Sel.Name)
	}
	call, ok := value.(*ast.CallExpr)
	if !ok {
		return false
	}
	return slices.Contains([]string{
		"errors.New", "fmt.Errorf", "session.NewKey", "regexp.MustCompile", "template.Must",
	}, calledName(call.Fun))
}

// calledName returns "package.Function", without type arguments.
func calledName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.IndexExpr:
		return calledName(e.X)
	case *ast.IndexListExpr:
		return calledName(e.X)
	case *ast.SelectorExpr:
		if of, ok := e.X.(*ast.Ident); ok {
			return of.Name + "." + e.Sel.Name
		}
	}
	return ""
}

// seedRule returns fuzz targets that have nothing to begin with: such a target
// tests nothing in an ordinary run.
func seedRule(s source) (complaints []string) {
	for name, f := range s.functions() {
		if !s.test() || !strings.HasPrefix(name, "Fuzz") || f.Recv != nil {
			continue
		}
		adds := false
		ast.Inspect(f, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				if fun, ok := call.Fun.(*ast.SelectorExpr); ok && fun.Sel.Name == "Add" {
					adds = true
				}
			}
			return !adds
		})
		files, _ := os.ReadDir(filepath.Join(filepath.Dir(s.name), "testdata", "fuzz", name))
		if !adds && len(files) == 0 {
			complaints = append(complaints, s.at(f, "%s has no seeds", name))
		}
	}
	return complaints
}

func TestSource(t *testing.T) {
	var lengths, functions []int
	checked := make(map[string]bool) // :: file name
	for _, p := range packages(t) {
		for _, name := range p.files(true) {
			if checked[name] {
				continue
			}
			checked[name] = true
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			s, err := parse(name, text)
			if err != nil {
				t.Fatal(err)
			}
			for _, complaint := range slices.Concat(longRule(s), stateRule(s), seedRule(s)) {
				t.Error(complaint)
			}
			lengths = append(lengths, s.lines)
			for _, f := range s.functions() {
				functions = append(functions, s.length(f))
			}
		}
	}
	if len(lengths) == 0 || len(functions) == 0 {
		t.Fatal("found nothing to check")
	}
	t.Logf("%d files: %s", len(lengths), spread(lengths))
	t.Logf("%d functions: %s", len(functions), spread(functions))
}

func spread(lines []int) string {
	slices.Sort(lines)
	return fmt.Sprintf("median %d, p90 %d, longest %d lines",
		lines[len(lines)/2], lines[len(lines)*9/10], lines[len(lines)-1])
}

func TestSourceRulesFail(t *testing.T) {
	seeded := t.TempDir()
	if err := os.MkdirAll(filepath.Join(seeded, "testdata", "fuzz", "FuzzFile"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(seeded, "testdata", "fuzz", "FuzzFile", "1"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("\n", functionLines)
	for name, c := range map[string]struct {
		rule func(source) []string
		file string
		text string
		want []string
	}{
		"long file": {
			longRule, "a.go", "package a\n" + strings.Repeat("\n", fileLines),
			[]string{fmt.Sprintf("a.go:1: %d lines, at most %d", fileLines+1, fileLines)},
		},
		"file as long as may be": {longRule, "a.go", "package a\n" + strings.Repeat("\n", fileLines-1), nil},
		"long function": {
			longRule, "a.go", "package a\nfunc f() {" + long + "}\n",
			[]string{fmt.Sprintf("a.go:2: f is %d lines long, at most %d", functionLines+1, functionLines)},
		},
		"long method of a test": {
			longRule, "a_test.go", "package a\nfunc (t) f() {" + long + "}\n",
			[]string{fmt.Sprintf("a_test.go:2: f is %d lines long, at most %d", functionLines+1, functionLines)},
		},
		"init":           {stateRule, "a.go", "package a\nfunc init() {}\n", []string{"a.go:2: init"}},
		"method init":    {stateRule, "a.go", "package a\nfunc (t) init() {}\n", nil},
		"init of a test": {stateRule, "a_test.go", "package a\nfunc init() {}\nvar x = 1\n", nil},
		"state": {
			stateRule, "a.go", "package a\nvar x, y = 1, map[string]int{}\nvar z sync.Mutex\n",
			[]string{"a.go:2: variable x of the package", "a.go:2: variable y of the package", "a.go:3: variable z of the package"},
		},
		"logger of the package": {
			stateRule, "a.go", "package a\nvar std = slog.Default()\n", []string{"a.go:2: variable std of the package"},
		},
		"alias that is no error": {
			stateRule, "a.go", "package a\nvar client = http.DefaultClient\n", []string{"a.go:2: variable client of the package"},
		},
		"constants in all but name": {stateRule, "a.go", `package a
var _ I = (*T)(nil)
var ErrA, errB = errors.New("a"), fmt.Errorf("b")
var ErrC = store.ErrC
var basket = session.NewKey[[]string]("basket")
var pattern = regexp.MustCompile("a")
var page = template.Must(template.ParseFS(files, "*.html"))
//go:embed *.html
var files embed.FS
var (
	//go:embed *.css
	styles []byte
)
func f() { var x = 1 }
`, nil},
		"fuzz without seeds": {
			seedRule, "a_test.go", "package a\nfunc FuzzA(f *testing.F) { f.Fuzz(nil) }\n", []string{"a_test.go:2: FuzzA has no seeds"},
		},
		"fuzz with seeds": {seedRule, "a_test.go", "package a\nfunc FuzzA(f *testing.F) { f.Add(1); f.Fuzz(nil) }\n", nil},
		"fuzz with seeds in files": {
			seedRule, filepath.Join(seeded, "a_test.go"), "package a\nfunc FuzzFile(f *testing.F) { f.Fuzz(nil) }\n", nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := parse(c.file, []byte(c.text))
			if err != nil {
				t.Fatal(err)
			}
			same(t, c.rule(s), c.want)
		})
	}
}
