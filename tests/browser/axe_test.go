package browser

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// axeSource is the script of axe-core, in the version that package.json names.
var axeSource = sync.OnceValues(installAxe)

// installAxe installs what package.json names in a folder of its own, so that
// nothing is left in the working tree, and returns axe's script.
func installAxe() (script string, err error) {
	npm, err := exec.LookPath("npm")
	if err != nil {
		return "", fmt.Errorf("these tests need npm, for axe-core: apt-get install npm: %w", err)
	}
	dir, err := os.MkdirTemp("", "cloakroom-axe-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	for _, name := range []string{"package.json", "package-lock.json"} {
		content, err := os.ReadFile(name)
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return "", err
		}
	}
	// ci installs what the lock file says, compares hashes, and changes nothing.
	install := exec.Command(npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		return "", fmt.Errorf("installing axe-core: %w\n%s", err, out)
	}
	text, err := os.ReadFile(filepath.Join(dir, "node_modules", "axe-core", "axe.min.js"))
	return string(text), err
}

// wantAccessible fails the test if axe-core finds fault with the page as it is:
// by WCAG 2.2 AA, or by what is good practice.
func (tb *tab) wantAccessible(name string) {
	tb.t.Helper()
	source, err := axeSource()
	if err != nil {
		tb.t.Fatal(err)
	}
	// The protocol puts it into the page: the page's own policy would not let
	// it in.
	if !evaluate[bool](tb, `'axe' in window`) {
		evaluate[bool](tb, source+"\n;'axe' in window")
	}
	found := evaluate[axeResult](tb, axeRun)
	if found.Passes == 0 {
		tb.t.Errorf("%s: axe-core has checked nothing", name)
	}
	for _, v := range found.Violations {
		tb.t.Errorf("%s: %s: %s (%s)\n\t%s", name, v.Rule, v.Help, v.URL, strings.Join(v.Nodes, "\n\t"))
	}
}

// axeResult is what axeRun yields.
type axeResult struct {
	Passes     int
	Violations []struct {
		Rule, Help, URL string
		Nodes           []string
	}
}

// axeRun checks the page that is shown. Tags rather than the defaults: those
// leave out the rules that are new in WCAG 2.2.
const axeRun = `axe.run({
	runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22a', 'wcag22aa', 'best-practice'],
}).then(found => ({
	Passes: found.passes.length,
	Violations: found.violations.map(v => ({
		Rule: v.id, Help: v.help, URL: v.helpUrl,
		Nodes: v.nodes.map(n => n.html + ': ' + n.failureSummary.replace(/\s+/g, ' ')),
	})),
}))`
