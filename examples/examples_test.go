// Package examples_test builds every example, runs each as a process of its own
// on a free port, and holds it to what its comment says.
package examples_test

import (
	"bufio"
	"bytes"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
	"time"
)

const (
	// startTimeout is how long a program may take to listen.
	startTimeout = 30 * time.Second
	// stopTimeout is how long it may take to stop when it is asked to. Its own
	// limit is shorter.
	stopTimeout = 20 * time.Second
)

// programs is the folder with the programs, laid out like their sources.
var programs string

func TestMain(m *testing.M) { os.Exit(run(m)) }

// run builds the programs and runs the tests.
func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "examples")
	if err != nil {
		log.Print(err)
		return 1
	}
	defer os.RemoveAll(dir)
	programs = dir
	for folder, packages := range map[string][]string{
		"": {
			"./nethttp", "./chi", "./gin", "./echo", "./forms", "./bearer", "./websocket", "./sse", "./managers",
		},
		"migrate/scs":     {"./migrate/scs/before", "./migrate/scs/after"},
		"migrate/gorilla": {"./migrate/gorilla/before", "./migrate/gorilla/after"},
	} {
		out := filepath.Join(dir, folder) + string(filepath.Separator)
		// Without symbols the linker takes half the time.
		build := exec.Command("go", append([]string{"build", "-buildvcs=false", "-ldflags=-s -w", "-o", out}, packages...)...)
		if text, err := build.CombinedOutput(); err != nil {
			log.Printf("building %v: %v\n%s", packages, err, text)
			return 1
		}
	}
	return m.Run()
}

// program is an example that runs.
type program struct {
	url  string
	stop func() // waits until it has stopped; only the first call counts
}

// start starts an example by its folder and waits until it listens. It is
// stopped at the latest when the test ends, and must do so without an error.
func start(t *testing.T, folder string, args ...string) *program {
	t.Helper()
	cmd := exec.Command(filepath.Join(programs, folder), append([]string{"-addr", "127.0.0.1:0"}, args...)...)
	errors := new(output)
	cmd.Stderr = errors
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatalf("starting %s: %v", folder, err)
	}
	lines := make(chan string, 16)
	go func() {
		for s := bufio.NewScanner(stdout); s.Scan(); {
			lines <- s.Text()
		}
		close(lines)
	}()
	p := &program{stop: sync.OnceFunc(func() { interrupt(t, folder, cmd, lines, errors) })}
	t.Cleanup(p.stop)
	for timeout := time.After(startTimeout); p.url == ""; {
		select {
		case line, ok := <-lines:
			if !ok {
				t.Fatalf("%s ended before it listened: %s", folder, errors)
			}
			p.url = regexp.MustCompile(`http://127\.0\.0\.1:\d+`).FindString(line)
		case <-timeout:
			t.Fatalf("%s does not listen", folder)
		}
	}
	return p
}

// interrupt does what Ctrl-C does and expects an orderly end.
func interrupt(t *testing.T, folder string, cmd *exec.Cmd, lines <-chan string, errors fmt.Stringer) {
	t.Helper()
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Errorf("stopping %s: %v", folder, err)
	}
	kill := time.AfterFunc(stopTimeout, func() { _ = cmd.Process.Kill() })
	defer kill.Stop()
	for range lines { // to the end, before Wait closes the pipe
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%s: %v\n%s", folder, err, errors)
	}
}

// output is what a program prints, for reading meanwhile.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}
