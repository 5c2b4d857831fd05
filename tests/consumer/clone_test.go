// Package consumer_test does what somebody does who has just cloned the
// repository: builds everything, and builds an application on the library the
// way the README says.
package consumer_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const root = "../.."

// clone copies the repository into an empty folder, without anything that a
// commit of what is there now would leave out. In a clean working tree that is
// what `git clone` gives.
func clone(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for _, name := range tracked(t) {
		info, err := os.Lstat(filepath.Join(root, name))
		if os.IsNotExist(err) {
			continue // removed, but not yet committed
		}
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if info.Mode()&fs.ModeSymlink != 0 {
			target, err := os.Readlink(filepath.Join(root, name))
			if err == nil {
				err = os.Symlink(target, to)
			}
			if err != nil {
				t.Fatal(err)
			}
			continue
		}
		content, err := os.ReadFile(filepath.Join(root, name))
		if err == nil {
			err = os.WriteFile(to, content, info.Mode().Perm())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// tracked returns the files that are committed or would be by `git add`. Where
// there is no git repository, as in an unpacked archive, that is all of them.
func tracked(t *testing.T) (names []string) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(root, ".git")); err == nil {
		// Whoever runs the tests need not own the working tree.
		git := exec.Command("git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
		git.Dir, git.Stderr = root, os.Stderr
		out, err := git.Output()
		if err != nil {
			t.Fatalf("git ls-files: %v", err)
		}
		return strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
	}
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// run runs a command in a folder and returns what it prints.
func run(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(cmd.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// offline is for builds that must need nothing that is not there.
func offline() []string { return []string{"GOPROXY=off", "GOFLAGS=-mod=mod"} }

// TestCloneBuilds: nothing that the packages and their tests need was left
// uncommitted.
func TestCloneBuilds(t *testing.T) {
	dir := clone(t)
	env := []string{"GOPROXY=off", "GOFLAGS=-buildvcs=false", "GOWORK="}
	modules := strings.Fields(run(t, dir, env, "go", "list", "-m", "-f", "{{.Dir}}"))
	if len(modules) < 2 {
		t.Fatalf("got modules %v, want at least session and tests", modules)
	}
	for _, m := range modules {
		if !strings.HasPrefix(m, dir) {
			t.Errorf("module %s lies outside of the clone", m)
		}
		run(t, m, env, "go", "build", "./...")
		run(t, m, env, "go", "vet", "./...") // compiles the tests too
	}
}
