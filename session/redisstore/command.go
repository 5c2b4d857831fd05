package redisstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"cloakroom.example/session/store"
)

// The client's queue in front of a connection has a thousand places, and who
// finds it full waits without looking at his context: as long as an engine is
// frozen, that is. So only so many calls go to it directly, and none about a
// bucket whose last call got no answer in time; the others wait beside it.
const (
	directMost = 512
	besideMost = 16384
)

// errCrowded says that so many calls wait for an answer that one more would not
// get any.
var errCrowded = errors.New("the engine does not keep up")

// call is one script to be run.
type call struct {
	script *script
	bucket int
	keys   []string
	args   []string
}

// read sends one command that changes nothing, and again if it got lost.
func (s *Store) read(ctx context.Context, bucket int, build func() rueidis.Completed) (rueidis.RedisMessage, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	for attempt := 0; ; attempt++ {
		m, err := s.do(ctx, bucket, build()).ToMessage()
		if err == nil || rueidis.IsRedisNil(err) {
			return m, nil
		}
		if isMoving(readFault(err)) || !again(err) || !pause(ctx, attempt) {
			return m, readFault(err)
		}
	}
}

// errMoving says that a Cluster is moving the slot, and serves no command of
// several keys in it.
var errMoving = fmt.Errorf("redisstore: the slot is being moved: %w", store.ErrUnavailable)

func isMoving(err error) bool { return errors.Is(err, errMoving) }

// again reports whether it makes sense to ask once more.
func again(err error) bool {
	_, answered := rueidis.IsRedisErr(err)
	return !answered && !errors.Is(err, errCrowded) && !errors.Is(err, rueidis.ErrClosing) || transient(err)
}

// run runs one script.
func (s *Store) run(ctx context.Context, c call) (rueidis.RedisMessage, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	for attempt := 0; ; attempt++ {
		m, err := s.do(ctx, c.bucket, s.evalsha(c)).ToMessage()
		if rerr, ok := rueidis.IsRedisErr(err); ok && rerr.IsNoScript() {
			m, err = s.do(ctx, c.bucket, s.eval(c)).ToMessage()
		}
		if err == nil {
			return m, nil
		}
		sent := maySent(c, err)
		if sent || !again(err) || !pause(ctx, attempt) {
			return m, writeFault(err, sent)
		}
	}
}

// answer is what became of one of several calls.
type answer struct {
	rueidis.RedisMessage
	err error
}

// runAll runs scripts in several buckets at once, each at most once.
func (s *Store) runAll(ctx context.Context, calls []call) []answer {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	answers := make([]answer, len(calls))
	todo := make([]int, len(calls))
	for i := range todo {
		todo[i] = i
	}
	build := s.evalsha
	for attempt := 0; len(todo) > 0; attempt++ {
		todo, build = s.runSome(ctx, calls, todo, build, answers)
		if len(todo) > 0 && attempt > 1 && !pause(ctx, attempt) {
			break
		}
	}
	for i := range answers {
		if err := answers[i].err; err != nil {
			answers[i].err = writeFault(err, maySent(calls[i], err))
		}
	}
	return answers
}

// runSome sends those to do, and returns those to be sent again because they
// were refused.
func (s *Store) runSome(ctx context.Context, calls []call, todo []int, build func(call) rueidis.Completed, answers []answer) (refused []int, next func(call) rueidis.Completed) {
	next = build
	for len(todo) > 0 {
		n := min(len(todo), directMost)
		commands := make([]rueidis.Completed, n)
		for i, c := range todo[:n] {
			commands[i] = build(calls[c])
		}
		for i, res := range s.doAll(ctx, commands) {
			m, err := res.ToMessage()
			answers[todo[i]] = answer{m, err}
			if rerr, ok := rueidis.IsRedisErr(err); ok && rerr.IsNoScript() {
				refused, next = append(refused, todo[i]), s.eval
			} else if err != nil && !maySent(calls[todo[i]], err) && again(err) {
				refused = append(refused, todo[i])
			}
		}
		todo = todo[n:]
	}
	return refused, next
}

func (s *Store) evalsha(c call) rueidis.Completed {
	return s.client.B().Evalsha().Sha1(c.script.sha).Numkeys(int64(len(c.keys))).Key(c.keys...).Arg(c.args...).Build()
}

func (s *Store) eval(c call) rueidis.Completed {
	return s.client.B().Eval().Script(c.script.text).Numkeys(int64(len(c.keys))).Key(c.keys...).Arg(c.args...).Build()
}

// readAll sends several commands that change nothing at once.
func (s *Store) readAll(ctx context.Context, commands []rueidis.Completed) ([]rueidis.RedisMessage, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	all := make([]rueidis.RedisMessage, len(commands))
	todo := make([]int, len(commands))
	for i := range todo {
		commands[i], todo[i] = commands[i].Pin(), i
	}
	for attempt := 0; ; attempt++ {
		lost, err := s.readSome(ctx, commands, todo, all)
		if err == nil {
			return all, nil
		}
		if isMoving(readFault(err)) || !again(err) || !pause(ctx, attempt) {
			return nil, readFault(err)
		}
		todo = lost
	}
}

// readSome sends those of the commands to do, and returns those that got lost and
// why.
func (s *Store) readSome(ctx context.Context, commands []rueidis.Completed, todo []int, all []rueidis.RedisMessage) (lost []int, err error) {
	for len(todo) > 0 {
		n := min(len(todo), directMost)
		some := make([]rueidis.Completed, n)
		for i, c := range todo[:n] {
			some[i] = commands[c]
		}
		for i, res := range s.doAll(ctx, some) {
			m, failed := res.ToMessage()
			if failed != nil && !rueidis.IsRedisNil(failed) {
				lost, err = append(lost, todo[i]), failed
			}
			all[todo[i]] = m
		}
		todo = todo[n:]
	}
	return lost, err
}

// do sends one command, and does not wait for longer than the context says.
func (s *Store) do(ctx context.Context, bucket int, cmd rueidis.Completed) rueidis.RedisResult {
	if err := ctx.Err(); err != nil {
		return rueidis.NewErrorResult(notSent{err})
	}
	defer s.direct.Add(-1)
	if s.direct.Add(1) <= directMost && !s.silent[bucket].Load() {
		res := s.client.Do(ctx, cmd)
		if res.NonRedisError() != nil && ctx.Err() != nil {
			s.silent[bucket].Store(true)
		}
		return res
	}
	all := s.beside(ctx, 1, func() []rueidis.RedisResult { return []rueidis.RedisResult{s.client.Do(ctx, cmd)} })
	if all[0].NonRedisError() == nil {
		s.silent[bucket].Store(false)
	}
	return all[0]
}

// doAll sends several commands at once.
func (s *Store) doAll(ctx context.Context, commands []rueidis.Completed) []rueidis.RedisResult {
	return s.beside(ctx, len(commands), func() []rueidis.RedisResult { return s.client.DoMulti(ctx, commands...) })
}

func (s *Store) beside(ctx context.Context, n int, do func() []rueidis.RedisResult) []rueidis.RedisResult {
	fail := func(err error) []rueidis.RedisResult {
		all := make([]rueidis.RedisResult, n)
		for i := range all {
			all[i] = rueidis.NewErrorResult(err)
		}
		return all
	}
	if err := ctx.Err(); err != nil {
		return fail(notSent{err})
	}
	if s.besides.Add(1) > besideMost {
		s.besides.Add(-1)
		return fail(notSent{errCrowded})
	}
	done := make(chan []rueidis.RedisResult, 1)
	go func() {
		defer s.besides.Add(-1)
		done <- do()
	}()
	select {
	case all := <-done:
		return all
	case <-ctx.Done():
		return fail(ctx.Err())
	}
}

// bounded gives calls an end that come without.
func (s *Store) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ends := ctx.Deadline(); ends {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, s.timeout)
}

// notSent wraps errors of commands that have not left this process.
type notSent struct{ error }

func (e notSent) Unwrap() error { return e.error }

// maySent reports whether a script that failed may have changed something. What the
// engine answers with an error has not: the scripts change nothing before
// anything that can be refused.
func maySent(c call, err error) bool {
	if _, answered := rueidis.IsRedisErr(err); answered || c.script.reads {
		return false
	}
	var local notSent
	var dial *net.OpError
	return !errors.As(err, &local) && !(errors.As(err, &dial) && dial.Op == "dial")
}

// transient reports whether the engine has refused for a reason that passes: it
// is starting, failing over or moving slots.
func transient(err error) bool {
	rerr, answered := rueidis.IsRedisErr(err)
	if !answered {
		return false
	}
	for _, reason := range []string{"LOADING", "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN", "READONLY", "MOVED", "ASK"} {
		if code(rerr) == reason || strings.Contains(rerr.Error(), "-"+reason+" ") {
			return true
		}
	}
	return false
}

// code is the first word of what the engine says. The rest may repeat arguments.
func code(err error) string {
	word, _, _ := strings.Cut(err.Error(), " ")
	return word
}

// pause waits before another attempt, and reports whether there is the time.
func pause(ctx context.Context, attempt int) bool {
	d := min(time.Millisecond<<min(attempt, 8), 100*time.Millisecond)
	d += rand.N(d)
	if end, ends := ctx.Deadline(); ends && time.Until(end) < d {
		return false
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func readFault(err error) error { return fault(store.ErrUnavailable, err) }

func writeFault(err error, sent bool) error {
	if sent {
		return fault(store.ErrUnknownOutcome, err)
	}
	return fault(store.ErrUnavailable, err)
}

// fault names the kind of an error, and what the engine said as far as it does not
// repeat what we sent.
func fault(kind, err error) error {
	if rerr, answered := rueidis.IsRedisErr(err); answered {
		if rerr.IsTryAgain() {
			return errMoving
		}
		return fmt.Errorf("redisstore: the engine refused: %s: %w", code(rerr), kind)
	}
	return fmt.Errorf("redisstore: %w: %w", kind, err)
}
