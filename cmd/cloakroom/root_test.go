package main

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
)

const sigterm = syscall.SIGTERM

// TestUsage is what people see who ask for help or get something wrong: exit
// code, one line that says why, and a hint.
func TestUsage(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	broken := t.TempDir()
	if err := os.WriteFile(filepath.Join(broken, "sessions.db"), []byte(strings.Repeat("not a database ", 99)), 0o600); err != nil {
		t.Fatal(err)
	}
	noKey := t.TempDir()
	if err := os.WriteFile(filepath.Join(noKey, "session.key"), []byte("hush"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		args   []string
		code   int
		stdout []string
		stderr []string
	}{
		{"nothing", nil, 0, []string{"cloakroom demo", "Exit codes:"}, nil},
		{"help", []string{"demo", "--help"}, 0, []string{"Usage:", "Examples:", "Exit codes:", "--tls", "--idle"}, nil},
		{"version", []string{"version"}, 0, []string{"cloakroom ", "go1."}, nil},
		{"unknown command", []string{"dmeo"}, 2, nil, []string{`unknown command "dmeo"`, `Try "cloakroom --help".`}},
		{"unknown flag", []string{"demo", "--port", "1"}, 2, nil, []string{"unknown flag: --port", `Try "cloakroom demo --help".`}},
		{"argument", []string{"demo", "now"}, 2, nil, []string{`unknown command "now"`}},
		{"open to others", []string{"demo", "--addr", "0.0.0.0:0"}, 2, nil, []string{"add --tls, or use 127.0.0.1:0"}},
		{"open to others, short", []string{"demo", "--addr", ":8080"}, 2, nil, []string{"add --tls, or use 127.0.0.1:8080"}},
		{"no address", []string{"demo", "--addr", "8080"}, 2, nil, []string{`--addr "8080" is not an address like 127.0.0.1:8080`}},
		{"no time to answer", []string{"demo", "--idle", "10s"}, 2, nil, []string{"--idle 10s is too short", "use 30s or more"}},
		{"idle beyond absolute", []string{"demo", "--idle", "2h", "--absolute", "1h"}, 2, nil,
			[]string{"--absolute 1h0m0s is shorter than --idle 2h0m0s"}},
		{"no duration", []string{"demo", "--idle", "soon"}, 2, nil, []string{`invalid argument "soon" for "--idle"`}},
		{"no store", []string{"sessions", "list"}, 2, nil, []string{"say --store URL or set CLOAKROOM_STORE", `Try "cloakroom sessions list --help".`}},
		{"memory from outside", []string{"sessions", "stats", "--store", "memory:"}, 2, nil, []string{"there is nothing to look at from outside"}},
		{"wrong kind of store", []string{"store", "check", "pg://db/shop"}, 1, nil, []string{`"pg" is not a kind of store; write postgres://`}},
		{"two stores", []string{"store", "check", "--store", "a", "b"}, 2, nil, []string{"two stores are named"}},
		{"no reason", []string{"sessions", "revoke", "--user", "alice", "--store", "sqlite:x"}, 2, nil, []string{"give a --reason"}},
		{"nobody to revoke", []string{"sessions", "revoke", "--reason", "x", "--store", "sqlite:x"}, 2, nil, []string{"give handles, --user or --all"}},
		{"too many to revoke", []string{"sessions", "revoke", "--reason", "x", "--all", "abcd", "--store", "sqlite:x"}, 2, nil, []string{"exclude each other"}},
		{"reason of two lines", []string{"sessions", "revoke", "abcd", "--reason", "a\nb", "--store", "sqlite:x"}, 2, nil, []string{"not one line"}},
		{"no state", []string{"sessions", "list", "--state", "dead", "--store", "sqlite:x"}, 2, nil, []string{`--state "dead" is not one of anonymous`}},
		{"no time", []string{"sessions", "list", "--older", "soon", "--store", "sqlite:x"}, 2, nil, []string{`--older "soon" is not a time like`}},
		{"no range", []string{"sessions", "list", "--address", "here", "--store", "sqlite:x"}, 2, nil, []string{`--address "here" is not an address`}},
		{"nothing to migrate", []string{"store", "migrate", "memory:"}, 0, []string{"memory: has no tables"}, nil},
		{"help of revoke", []string{"sessions", "revoke", "--help"}, 0, []string{"--all-but", "jq -r .handle", "Exit codes:"}, nil},
		{"taken address", []string{"demo", "--addr", taken.Addr().String(), "--data", t.TempDir()}, 1, nil,
			[]string{"is in use; choose another with --addr"}},
		{"folder is a file", []string{"demo", "--addr", "127.0.0.1:0", "--data", file}, 1, nil,
			[]string{"making the data folder: ", "name another with --data"}},
		{"not a database", []string{"demo", "--addr", "127.0.0.1:0", "--data", broken}, 1, nil,
			[]string{"opening sessions in " + broken, "name another folder with --data"}},
		{"not a key", []string{"demo", "--addr", "127.0.0.1:0", "--data", noKey}, 1, nil,
			[]string{"session.key is not 32 bytes in hexadecimal; name another folder with --data"}},
		{"newer database", []string{"demo", "--addr", "127.0.0.1:0", "--data", newerDatabase(t)}, 1, nil,
			[]string{"version 9999", "or a newer one", "name another folder with --data"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, stdout, stderr := output(t, c.args)
			if code != c.code {
				t.Errorf("got exit code %d, want %d; stderr: %s", code, c.code, stderr)
			}
			for _, want := range c.stdout {
				if !strings.Contains(stdout, want) {
					t.Errorf("got no %q on stdout:\n%s", want, stdout)
				}
			}
			for _, want := range c.stderr {
				if !strings.Contains(stderr, want) {
					t.Errorf("got no %q on stderr:\n%s", want, stderr)
				}
			}
			// One line, and for wrong usage a second one with a hint.
			if lines := strings.Count(stderr, "\n"); lines != c.code {
				t.Errorf("got %d lines on stderr, want %d:\n%s", lines, c.code, stderr)
			}
		})
	}
}

// output runs the program to its end.
func output(t testing.TB, args []string) (code int, stdout, stderr string) {
	t.Helper()
	cmd := command(t, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run() // its result is the exit code
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

func TestVersion(t *testing.T) {
	for _, c := range []struct {
		name string
		info *debug.BuildInfo
		want string
	}{
		{"released", &debug.BuildInfo{GoVersion: "go1.26", Main: debug.Module{Version: "v1.2.3"}}, "cloakroom v1.2.3 (go1.26)\n"},
		{"from a tree", &debug.BuildInfo{GoVersion: "go1.26", Main: debug.Module{Version: "(devel)"}, Settings: []debug.BuildSetting{
			{Key: "vcs.revision", Value: "0123456789abcdef"}, {Key: "vcs.modified", Value: "true"},
		}}, "cloakroom development version 0123456789ab with changes (go1.26)\n"},
		{"without information", nil, "cloakroom (unknown version)\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b bytes.Buffer
			if err := printVersion(&b, c.info); err != nil || b.String() != c.want {
				t.Errorf("got %q, %v; want %q", b.String(), err, c.want)
			}
		})
	}
}
