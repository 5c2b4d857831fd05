// Package rules_test holds the rules of the house: who may import whom, how long
// a file may grow, what every exported name owes its reader. Each rule is a
// function from a package or a file to complaints, is applied to everything in
// the workspace, and is shown to fail on a sample that breaks it.
package rules_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

// module is what `go list -m` says of a module of the workspace.
type module struct{ Path, Dir string }

// pkg is what `go list` says of a package.
type pkg struct {
	ImportPath, Name, Dir string
	Imports               []string // without those of tests
	GoFiles, CgoFiles     []string
	TestGoFiles           []string
	XTestGoFiles          []string
	Standard              bool
	Module                *module
}

// goList runs `go list -json` and decodes what it prints, one value after the
// other.
func goList[T any](t *testing.T, dir string, env []string, args ...string) (all []T) {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(cmd.Environ(), env...)
	out, err := cmd.Output()
	if err != nil {
		var failed *exec.ExitError
		if errors.As(err, &failed) {
			t.Fatalf("go list %v in %s: %v\n%s", args, dir, err, failed.Stderr)
		}
		t.Fatal(err)
	}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var v T
		switch err := d.Decode(&v); {
		case errors.Is(err, io.EOF):
			return all
		case err != nil:
			t.Fatal(err)
		}
		all = append(all, v)
	}
}

func modules(t *testing.T) []module {
	t.Helper()
	all := goList[module](t, root, nil, "-m", "-json")
	if len(all) < 2 {
		t.Fatalf("got %d modules in the workspace, want at least session and tests", len(all))
	}
	return all
}

func packages(t *testing.T) (all []pkg) {
	t.Helper()
	for _, m := range modules(t) {
		all = append(all, goList[pkg](t, m.Dir, nil, "-json", "./...")...)
	}
	return all
}

// files returns the Go files of a package, without or with those of its tests.
func (p pkg) files(tests bool) (names []string) {
	names = slices.Concat(p.GoFiles, p.CgoFiles)
	if tests {
		names = append(names, slices.Concat(p.TestGoFiles, p.XTestGoFiles)...)
	}
	for i, name := range names {
		names[i] = filepath.Join(p.Dir, name)
	}
	return names
}

// same reports the difference between the complaints a sample should cause and
// those it did.
func same(t *testing.T, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got complaints\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}
