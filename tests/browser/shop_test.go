// Package browser drives the shop of "cloakroom demo" with a real browser,
// Debian's chromium. The shop is built by the tests, which go test does not see:
// run them with -count=1, or it answers from its cache.
package browser

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// program is the cloakroom binary, built once for all tests.
var program string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "cloakroom-browser-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	program = filepath.Join(dir, "cloakroom")
	build := exec.Command("go", "build", "-o", program, "./cmd/cloakroom")
	build.Dir = filepath.Join("..", "..") // the module of the program
	code := 1
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building cloakroom: %v\n%s", err, out)
	} else {
		code = m.Run()
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

// shop is a running shop.
type shop struct {
	url       string
	passwords map[string]string
}

// host is the only host that anybody may talk to.
func (s *shop) host() string { return strings.TrimPrefix(s.url, "http://") }

// openShop starts a shop with a folder of its own and ends it with the test.
func openShop(t testing.TB, flags ...string) *shop {
	t.Helper()
	flags = append([]string{"demo", "--addr", "127.0.0.1:0", "--data", t.TempDir()}, flags...)
	cmd := exec.Command(program, flags...)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the shop ended with %v, want exit code 0", err)
		}
	})
	s := &shop{passwords: make(map[string]string)}
	lines := bufio.NewScanner(stdout)
	for lines.Scan() && len(s.passwords) < 3 {
		var name, password string
		if _, at, found := strings.Cut(lines.Text(), "open at "); found {
			s.url = strings.TrimSuffix(at, "/")
		} else if n, _ := fmt.Sscanf(lines.Text(), "user %s password %s", &name, &password); n == 2 {
			s.passwords[name] = password
		}
	}
	if s.url == "" || len(s.passwords) != 3 {
		t.Fatalf("the shop did not open: %v", lines.Err())
	}
	go io.Copy(io.Discard, stdout) // its events; they must not fill the pipe
	return s
}

// testTimeout is for one test, on a machine that is busy with others.
const testTimeout = 90 * time.Second
