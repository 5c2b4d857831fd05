package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"time"
)

// childArgument makes this program a child: a server to be loaded, or a process
// that holds a million sessions and gives its memory back by ending. It is not
// for people.
const childArgument = "child"

// runChild is the child's main function. It prints what it has found as JSON.
func runChild(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	err := errors.New("the arguments are wrong")
	switch {
	case len(args) == 2 && args[0] == "server":
		err = serveChild(ctx, args[1], stdin, stdout)
	case len(args) == 3 && args[0] == "memory":
		err = withNumber(args[2], func(n int) error { return memoryChild(ctx, args[1], n, newTeller(stdout)) })
	case len(args) == 4 && args[0] == "growth":
		err = withNumber(args[2], func(n int) error { return growthChild(ctx, args[1], n, args[3], newTeller(stdout)) })
	}
	if err != nil {
		fmt.Fprintf(stderr, "bench: child %v: %v\n", args, err)
		return exitFailed
	}
	return exitReached
}

// endWithParent ends this process when its input does: when its parent has the
// answer, or is gone and nobody needs gigabytes of sessions any more.
func endWithParent(stdin io.Reader) {
	_, _ = io.Copy(io.Discard, stdin) // however it ends
	os.Exit(exitReached)
}

func withNumber(text string, do func(n int) error) error {
	n, err := strconv.Atoi(text)
	if err != nil {
		return err
	}
	return do(n)
}

// child is a running one.
type child struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *json.Decoder
}

// startChild starts this program once more. It ends with ctx, or when its input is
// closed.
func startChild(ctx context.Context, args ...string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}
	cmd := exec.CommandContext(ctx, self, append([]string{childArgument}, args...)...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting a process: %w", err)
	}
	return &child{cmd, in, json.NewDecoder(out)}, nil
}

// stop lets the child end and waits for it.
func (c *child) stop() error { return errors.Join(c.in.Close(), c.cmd.Wait()) }

// message is what a child says that works for long: how far it is, and in the end
// its answer.
type message struct {
	Done   int             `json:"done,omitempty"`
	All    int             `json:"all,omitempty"`
	Answer json.RawMessage `json:"answer,omitempty"`
}

// askChild starts a child and returns its answer.
func askChild[T any](ctx context.Context, progress func(done, all int), args ...string) (answer T, err error) {
	c, err := startChild(ctx, args...)
	if err != nil {
		return answer, err
	}
	for {
		var m message
		if err := c.out.Decode(&m); err != nil {
			return answer, errors.Join(err, c.stop())
		}
		if m.Answer != nil {
			return answer, errors.Join(json.Unmarshal(m.Answer, &answer), c.stop())
		}
		progress(m.Done, m.All)
	}
}

// teller is the child's end. Its methods are safe for concurrent use.
type teller struct {
	mu    sync.Mutex
	out   *json.Encoder
	shown time.Time
}

func newTeller(w io.Writer) *teller { return &teller{out: json.NewEncoder(w)} }

// progress tells how far the child is, a few times a second at most.
func (t *teller) progress(done, all int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if time.Since(t.shown) < 300*time.Millisecond {
		return
	}
	t.shown = time.Now()
	_ = t.out.Encode(message{Done: done, All: all}) // the answer will fail, too
}

func (t *teller) answer(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.out.Encode(message{Answer: text})
}
