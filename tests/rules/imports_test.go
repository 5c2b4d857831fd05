package rules_test

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	house   = "cloakroom.example"
	library = house + "/session"
)

// within reports whether an import path is the given one or lies below it.
func within(importPath, of string) bool {
	return importPath == of || strings.HasPrefix(importPath, of+"/")
}

// standard reports whether an import path is of the standard library, the only
// one whose paths begin without a domain.
func standard(importPath string) bool {
	first, _, _ := strings.Cut(importPath, "/")
	return !strings.Contains(first, ".")
}

// drivers are the database drivers known to Go programs. Programs link them, the
// package that opens stores by URL for them, and the modules that need a driver's
// own interface: all others leave the choice to their users.
func drivers() []string {
	return []string{
		"modernc.org/sqlite", "github.com/mattn/go-sqlite3", "github.com/ncruces/go-sqlite3",
		"github.com/jackc/pgx", "github.com/lib/pq", "github.com/go-sql-driver/mysql",
		"github.com/redis/go-redis", "github.com/redis/rueidis", "github.com/valkey-io/valkey-go",
	}
}

// mayLink reports whether a package may import a driver.
func mayLink(importPath, driver string) bool {
	switch {
	case importPath == library+"/redisstore":
		return driver == "github.com/redis/rueidis"
	case importPath == library+"/pgwatch":
		return driver == "github.com/jackc/pgx"
	}
	return importPath == house+"/cmd/cloakroom" || importPath == house+"/storeurl" || importPath == house+"/bench" ||
		within(importPath, house+"/examples")
}

// allowed returns what a package of the library may import beside the standard
// library, and false for packages of other modules.
func allowed(importPath string) (others []string, ofLibrary bool) {
	switch {
	case importPath == library:
		return []string{library + "/store", library + "/store/memory"}, true
	case importPath == library+"/store":
		return nil, true
	case within(importPath, library+"/store"):
		return []string{library + "/store"}, true
	case importPath == library+"/sessiontest":
		return []string{
			library, library + "/store", library + "/store/memory", library + "/store/storetest",
		}, true
	case importPath == library+"/pgwatch":
		return []string{library + "/store", library + "/store/sqlstore"}, true
	case within(importPath, library):
		return []string{library, library + "/store"}, true
	}
	return nil, false
}

// importRules returns what is wrong with a package's name and imports.
func importRules(p pkg) (complaints []string) {
	complain := func(format string, args ...any) {
		complaints = append(complaints, p.ImportPath+": "+fmt.Sprintf(format, args...))
	}
	for _, name := range []string{p.Name, path.Base(p.ImportPath)} {
		switch strings.TrimSuffix(name, "_test") {
		case "util", "utils", "helper", "helpers", "common", "misc", "types", "interfaces", "pkg":
			complain("the name %q says nothing", name)
		}
	}
	others, ofLibrary := allowed(p.ImportPath)
	for _, i := range p.Imports {
		linked := func(driver string) bool { return within(i, driver) && mayLink(p.ImportPath, driver) }
		switch {
		case i == "C":
			complain("imports C")
		case within(i, "testing") && p.ImportPath != library+"/store/storetest" && p.ImportPath != library+"/sessiontest" &&
			!within(p.ImportPath, house+"/tests"):
			complain("imports %s outside of tests", i)
		case ofLibrary && !standard(i) && !slices.Contains(others, i) && !slices.ContainsFunc(drivers(), linked):
			complain("imports %s", i)
		case within(p.ImportPath, house+"/audit") && within(i, library), within(p.ImportPath, house+"/review") && within(i, library):
			complain("imports %s: what proves must not share code with what it proves", i)
		}
		if slices.ContainsFunc(drivers(), func(driver string) bool { return within(i, driver) }) && !slices.ContainsFunc(drivers(), linked) {
			complain("imports the driver %s", i)
		}
	}
	return complaints
}

func TestImports(t *testing.T) {
	all := packages(t)
	for _, want := range []string{library, library + "/store", library + "/store/memory"} {
		if !slices.ContainsFunc(all, func(p pkg) bool { return p.ImportPath == want }) {
			t.Errorf("package %s is not there to be checked", want)
		}
	}
	for _, p := range all {
		for _, complaint := range importRules(p) {
			t.Error(complaint)
		}
	}
}

// TestLibraryStandsAlone: whoever imports the library gets nothing else with it.
func TestLibraryStandsAlone(t *testing.T) {
	dir := filepath.Join(root, "session")
	out, err := exec.Command("go", "mod", "edit", "-json", filepath.Join(dir, "go.mod")).Output()
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Require, Replace, Exclude, Tool []any }
	if err := json.Unmarshal(out, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Require)+len(file.Replace)+len(file.Exclude)+len(file.Tool) > 0 {
		t.Errorf("session/go.mod has directives beside module and go:\n%s", out)
	}
	dependencies := goList[pkg](t, dir, []string{"GOWORK=off"}, "-deps", "-test", "-json", "./...")
	if len(dependencies) < 50 {
		t.Fatalf("got %d packages, which cannot be all", len(dependencies))
	}
	for _, p := range dependencies {
		if !p.Standard && (p.Module == nil || p.Module.Path != library) {
			t.Errorf("the library or its tests need %s", p.ImportPath)
		}
	}
}

func TestImportRulesFail(t *testing.T) {
	for name, c := range map[string]struct {
		pkg  pkg
		want []string
	}{
		"good library": {pkg: pkg{ImportPath: library, Name: "session", Imports: []string{"net/http", library + "/store"}}},
		"library needs a module": {
			pkg{ImportPath: library, Name: "session", Imports: []string{"golang.org/x/crypto/argon2"}},
			[]string{library + ": imports golang.org/x/crypto/argon2"},
		},
		"library imports a durable store": {
			pkg{ImportPath: library, Name: "session", Imports: []string{library + "/store/sqlstore"}},
			[]string{library + ": imports " + library + "/store/sqlstore"},
		},
		"contract imports a store": {
			pkg{ImportPath: library + "/store", Name: "store", Imports: []string{library + "/store/memory"}},
			[]string{library + "/store: imports " + library + "/store/memory"},
		},
		"contract imports the manager": {
			pkg{ImportPath: library + "/store", Name: "store", Imports: []string{library}},
			[]string{library + "/store: imports " + library},
		},
		"store imports another": {
			pkg{ImportPath: library + "/store/sqlstore", Name: "sqlstore", Imports: []string{library + "/store/memory"}},
			[]string{library + "/store/sqlstore: imports " + library + "/store/memory"},
		},
		"store brings a driver": {
			pkg{ImportPath: library + "/store/sqlstore", Name: "sqlstore", Imports: []string{"modernc.org/sqlite/lib"}},
			[]string{
				library + "/store/sqlstore: imports modernc.org/sqlite/lib",
				library + "/store/sqlstore: imports the driver modernc.org/sqlite/lib",
			},
		},
		"demo brings a driver": {
			pkg{ImportPath: house + "/demo", Name: "demo", Imports: []string{"modernc.org/sqlite"}},
			[]string{house + "/demo: imports the driver modernc.org/sqlite"},
		},
		"good module of a driver": {
			pkg: pkg{ImportPath: library + "/redisstore", Name: "redisstore", Imports: []string{"github.com/redis/rueidis", library + "/store"}},
		},
		"module of another driver": {
			pkg{ImportPath: library + "/pgwatch", Name: "pgwatch", Imports: []string{"github.com/redis/rueidis", "github.com/jackc/pgx/v5"}},
			[]string{
				library + "/pgwatch: imports github.com/redis/rueidis",
				library + "/pgwatch: imports the driver github.com/redis/rueidis",
			},
		},
		"good opener":     {pkg: pkg{ImportPath: house + "/storeurl", Name: "storeurl", Imports: []string{"github.com/jackc/pgx/v5", library}}},
		"good program":    {pkg: pkg{ImportPath: house + "/cmd/cloakroom", Name: "main", Imports: []string{"modernc.org/sqlite", library}}},
		"good example":    {pkg: pkg{ImportPath: house + "/examples/migrate", Name: "main", Imports: []string{"modernc.org/sqlite", library}}},
		"good comparison": {pkg: pkg{ImportPath: house + "/bench", Name: "main", Imports: []string{"modernc.org/sqlite", library}}},
		"auditor shares code": {
			pkg{ImportPath: house + "/audit/probe", Name: "probe", Imports: []string{library + "/store"}},
			[]string{house + "/audit/probe: imports " + library + "/store: what proves must not share code with what it proves"},
		},
		"reviewer shares code": {
			pkg{ImportPath: house + "/review", Name: "review", Imports: []string{library}},
			[]string{house + "/review: imports " + library + ": what proves must not share code with what it proves"},
		},
		"testing in a program": {
			pkg{ImportPath: house + "/demo", Name: "demo", Imports: []string{"testing/fstest"}},
			[]string{house + "/demo: imports testing/fstest outside of tests"},
		},
		"good suite": {pkg: pkg{ImportPath: library + "/store/storetest", Name: "storetest", Imports: []string{"testing", library + "/store"}}},
		"C": {
			pkg{ImportPath: house + "/demo", Name: "demo", Imports: []string{"C"}}, []string{house + "/demo: imports C"},
		},
		"empty name": {
			pkg{ImportPath: house + "/demo/util", Name: "util"},
			[]string{house + `/demo/util: the name "util" says nothing`, house + `/demo/util: the name "util" says nothing`},
		},
	} {
		t.Run(name, func(t *testing.T) { same(t, importRules(c.pkg), c.want) })
	}
}
