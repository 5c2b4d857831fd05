package faults_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

// action is what a request does to a session.
type action int

const (
	reads action = iota
	writes
	ends
)

// asked is the input of an operation: what was asked, with which token, and the
// value to write.
type asked struct {
	action action
	token  string
	value  int
}

// answered is the output of an operation.
type answered struct {
	refused bool // the session was not accepted
	unknown bool // the operation may have been carried out, or will be later
	token   string
	value   int
}

// register is a session as an outsider sees it: a value, a token that is replaced
// now and then, and an end.
type register struct {
	ended              bool
	value              int
	token, predecessor string
}

// model says which answers a session may give. A history that fits is one in which
// every operation takes effect at one moment between question and answer.
func model(token string) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return register{token: token} },
		Step: func(state, input, output any) (bool, any) {
			return step(state.(register), input.(asked), output.(answered))
		},
		DescribeOperation: func(input, output any) string { return describe(input.(asked), output.(answered)) },
	}
}

func step(r register, in asked, out answered) (bool, any) {
	switch {
	case in.action == ends:
		legal := !out.refused || r.ended
		r.ended = true // and stays so
		return legal, r
	case out.unknown:
		if !r.ended {
			r.value = in.value
		}
		return true, r
	case out.refused:
		return r.ended, r
	case r.ended:
		return false, r
	}
	switch in.token {
	case r.token:
		if out.token != "" {
			r.predecessor, r.token = r.token, out.token
		}
	case r.predecessor:
		if out.token != "" && out.token != r.token {
			return false, r // two successors of one token
		}
	default:
		return false, r
	}
	if in.action == writes {
		r.value = in.value
		return true, r
	}
	return out.value == r.value, r
}

// tracked is one session and what was done to it.
type tracked struct {
	subject string
	handle  string
	first   string // token

	mu    sync.Mutex
	token string
	ops   []porcupine.Operation
}

// cookie returns the token that a browser would send.
func (s *tracked) cookie() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.token
}

// never is when an operation with an unknown outcome returns.
const never = math.MaxInt64

// record adds an operation. A new token replaces the one it was given for.
func (s *tracked) record(client int, in asked, out answered, began, ended time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	op := porcupine.Operation{ClientId: client, Input: in, Output: out, Call: int64(began), Return: int64(ended)}
	if out.unknown {
		op.Return = never
	}
	s.ops = append(s.ops, op)
	if out.token != "" && s.token == in.token {
		s.token = out.token
	}
}

// check returns what is wrong with the history, or nothing.
func (s *tracked) check() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch porcupine.CheckOperationsTimeout(model(s.first), s.ops, 20*time.Second) {
	case porcupine.Ok:
		return ""
	case porcupine.Unknown:
		return fmt.Sprintf("%s: the history of %d operations could not be checked in time", s.subject, len(s.ops))
	}
	return "no session behaves like this:\n" + s.String()
}

// String prints the history in the order of the answers, without tokens.
func (s *tracked) String() string {
	names := map[string]string{s.first: "token 0"}
	var b strings.Builder
	fmt.Fprintf(&b, "%s, handle %s\n", s.subject, s.handle)
	ops := slices.Clone(s.ops)
	slices.SortFunc(ops, func(a, b porcupine.Operation) int { return int(min(1, max(-1, a.Call-b.Call))) })
	for _, op := range ops {
		in, out := op.Input.(asked), op.Output.(answered)
		for _, token := range []string{in.token, out.token} {
			if names[token] == "" && token != "" {
				names[token] = fmt.Sprintf("token %d", len(names))
			}
		}
		in.token, out.token = names[in.token], names[out.token]
		until := "…"
		if op.Return != never {
			until = time.Duration(op.Return).Round(time.Millisecond).String()
		}
		fmt.Fprintf(&b, "%10v to %-10s client %d: %s\n", time.Duration(op.Call).Round(time.Millisecond), until, op.ClientId, describe(in, out))
	}
	return b.String()
}

func describe(in asked, out answered) string {
	what := [...]string{"reads", "writes", "ends"}[in.action]
	if in.action == writes {
		what += fmt.Sprint(" ", in.value)
	}
	if in.token != "" {
		what += " with " + in.token
	}
	switch {
	case out.unknown:
		what += ": unknown"
	case out.refused:
		what += ": refused"
	case in.action == reads:
		what += fmt.Sprintf(": got %d", out.value)
	default:
		what += ": done"
	}
	if out.token != "" {
		what += ", given " + out.token
	}
	return what
}

// lost counts what an asynchronous failover has undone.
type lost struct {
	sessions, revoked, changes int
}

// losses tells which kinds of promises a history breaks.
func (s *tracked) losses() (l lost) {
	s.mu.Lock()
	defer s.mu.Unlock()
	asksToEnd, ended := false, int64(never) // when an end was acknowledged
	for _, op := range s.ops {
		if op.Input.(asked).action == ends && !op.Output.(answered).refused {
			asksToEnd, ended = true, min(ended, op.Return)
		}
	}
	for _, op := range s.ops {
		in, out := op.Input.(asked), op.Output.(answered)
		switch {
		case in.action == ends || out.unknown:
		case out.refused && !asksToEnd:
			l.sessions = 1
		case !out.refused && op.Call > ended:
			l.revoked = 1
		}
	}
	if l == (lost{}) {
		l.changes = 1
	}
	return l
}
