package rules_test

import (
	"go/ast"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var (
	markdownLink  = regexp.MustCompile(`\]\(([^)#\s]+)(#[^)\s]*)?\)`)
	frozenLiteral = regexp.MustCompile(`^(cloakroom/\d+/|cr\d[a-z]$)`)
)

// brokenLinks returns the relative links of a Markdown text that lead nowhere.
func brokenLinks(dir, text string) (complaints []string) {
	for _, found := range markdownLink.FindAllStringSubmatch(text, -1) {
		target := found[1]
		if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
			continue
		}
		if _, err := os.Stat(filepath.Join(dir, filepath.FromSlash(target))); err != nil {
			complaints = append(complaints, "link to "+target+" leads nowhere")
		}
	}
	return complaints
}

func TestLinks(t *testing.T) {
	var names []string
	for _, pattern := range []string{"*.md", "docs/*.md", "examples/*.md", "examples/*/*/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, found...)
	}
	if len(names) < 5 {
		t.Fatalf("found only %v", names)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, complaint := range brokenLinks(filepath.Dir(name), string(text)) {
			t.Errorf("%s: %s", name, complaint)
		}
		if n := strings.Count(string(text), "\n"); filepath.Base(name) == "README.md" && n > 250 {
			t.Errorf("%s has %d lines, at most 250", name, n)
		}
	}
}

func TestBrokenLinksFail(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "there.md"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	text := "[a](there.md) [b](there.md#part) [c](https://example.org/x) [d](#here) ![e](gone.png) [f](gone.md#part)"
	same(t, brokenLinks(dir, text), []string{"link to gone.png leads nowhere", "link to gone.md leads nowhere"})
}

// undocumented returns the domains of hashes and seals that a source uses and the
// description of the formats does not name.
func undocumented(s source, description string) (complaints []string) {
	ast.Inspect(s.file, func(n ast.Node) bool {
		literal, ok := n.(*ast.BasicLit)
		if !ok || literal.Kind != token.STRING {
			return true
		}
		value, err := strconv.Unquote(literal.Value)
		if err != nil || !frozenLiteral.MatchString(value) {
			return true
		}
		if name := strings.TrimSuffix(value, "\x00"); !strings.Contains(description, name) {
			complaints = append(complaints, s.at(literal, "%q is not described", name))
		}
		return true
	})
	return complaints
}

// TestFormatsAreDescribed: nobody adds a domain without saying what it is for.
func TestFormatsAreDescribed(t *testing.T) {
	description, err := os.ReadFile(filepath.Join(root, "docs", "format.md"))
	if err != nil {
		t.Fatal(err)
	}
	all := 0
	for _, p := range packages(t) {
		if !within(p.ImportPath, library) {
			continue
		}
		for _, name := range p.files(false) {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			s, err := parse(name, text)
			if err != nil {
				t.Fatal(err)
			}
			all += len(undocumented(s, ""))
			for _, complaint := range undocumented(s, string(description)) {
				t.Error(complaint)
			}
		}
	}
	if all < 9 {
		t.Errorf("found %d domains in the sources, want at least 9: the pattern no longer fits", all)
	}
}

func TestUndocumentedFails(t *testing.T) {
	s, err := parse("a.go", []byte("package a\nconst x, y = \"cloakroom/1/x\\x00\", \"cr1y\"\nconst z = \"cr1yz\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	same(t, undocumented(s, "cr1y is for y"), []string{`a.go:2: "cloakroom/1/x" is not described`})
}
