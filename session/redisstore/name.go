package redisstore

import (
	"context"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"cloakroom.example/session/store"
)

// A name is a subject or a link. Its key is a hash with the fields
//
//	q          how many reservations there were, for comparing
//	m          when the name was revoked last: time 8 · clock 8
//	handle 16  a session: "" if it lives, as far as is known, "x" if it has ended,
//	           "r" and a time in milliseconds while it is being created
//
// Sessions and their names are in different buckets, and in a Cluster on different
// nodes. So the record says whether a session lives, and the name only where to
// look; it may name sessions that are not there, but never misses one that is.
type nameState struct {
	name
	now          int64 // by the engine's clock, in milliseconds
	reservations string
	mark         string
	live, ended  []store.Handle
	reserved     map[store.Handle]int64 // until when
}

// looking is the call that reads a name.
func (s *Store) looking(n name) call {
	return call{&s.scripts.look, n.bucket, []string{n.key}, nil}
}

// lookedAt reads the answer.
func lookedAt(n name, m rueidis.RedisMessage) (nameState, error) {
	pair, err := m.ToArray()
	if err != nil || len(pair) != 2 {
		return nameState{}, errReply
	}
	now, err := strconv.ParseInt(text(pair[0]), 10, 64)
	if err != nil {
		return nameState{}, errReply
	}
	st, err := fieldsOf(n, pair[1])
	st.now = now
	return st, err
}

// fieldsOf reads the fields of a name: a map if a command asked for them, and a
// list if a script did.
func fieldsOf(n name, m rueidis.RedisMessage) (nameState, error) {
	st := nameState{name: n, reservations: "0", reserved: map[store.Handle]int64{}}
	if m.IsMap() {
		fields, err := m.AsStrMap()
		for field, v := range fields {
			st.add(field, v)
		}
		return st, err
	}
	fields, err := m.AsStrSlice()
	if err != nil {
		return st, errReply
	}
	for i := 0; i+1 < len(fields); i += 2 {
		st.add(fields[i], fields[i+1])
	}
	return st, nil
}

func (st *nameState) add(field, v string) {
	switch {
	case field == "q":
		st.reservations = v
	case field == "m":
		st.mark = v
	case len(field) != handleSize:
	case v == "":
		st.live = append(st.live, store.Handle([]byte(field)))
	case v == "x":
		st.ended = append(st.ended, store.Handle([]byte(field)))
	case strings.HasPrefix(v, "r"):
		till, _ := strconv.ParseInt(v[1:], 10, 64)
		st.reserved[store.Handle([]byte(field))] = till
	}
}

// busy reports whether a creation is under way that has not been given up.
func (st *nameState) busy() bool {
	for _, till := range st.reserved {
		if till > st.now {
			return true
		}
	}
	return false
}

// state returns the state of a session as it is stored, "-" if there is none.
func (st *nameState) state(h store.Handle) string {
	if till, reserved := st.reserved[h]; reserved {
		return "r" + strconv.FormatInt(till, 10)
	}
	switch {
	case slices.Contains(st.live, h):
		return ""
	case slices.Contains(st.ended, h):
		return "x"
	}
	return "-"
}

// lapsed returns the reservations that nobody waits for. They are taken away by
// whoever counts without them, so that they cannot be confirmed any more, and by
// anybody when it is certain that nobody comes back.
func (st *nameState) lapsed(counting bool) (handles []store.Handle) {
	more := unsettledTime.Milliseconds()
	if counting {
		more = 0
	}
	for h, till := range st.reserved {
		if till+more <= st.now {
			handles = append(handles, h)
		}
	}
	return handles
}

// Sessions whose keys have gone are forgotten by their names now and then, when
// there are many.
const (
	untidyMost = 16
	tidyEvery  = 8
)

// gone returns the sessions of a name of which nothing is left, if it is time to
// look for them.
func (s *Store) gone(ctx context.Context, namespace string, st *nameState) ([]store.Handle, error) {
	all := append(append([]store.Handle(nil), st.live...), st.ended...)
	if len(all) < untidyMost || rand.IntN(tidyEvery) > 0 {
		return nil, nil
	}
	keys := s.keys(namespace)
	commands := make([]rueidis.Completed, len(all))
	for i, h := range all {
		commands[i] = s.client.B().Exists().Key(keys.of(kindRecord, h)).Build()
	}
	replies, err := s.readAll(ctx, commands)
	if err != nil {
		return nil, err
	}
	var gone []store.Handle
	for i, m := range replies {
		if n, err := m.AsInt64(); err == nil && n == 0 {
			gone = append(gone, all[i])
		}
	}
	return gone, nil
}

// retire notes at the names of sessions that they have ended, so that logins need
// not look at them. Nothing depends on it but how long those take.
func (s *Store) retire(ctx context.Context, ended []store.Record, now time.Time) {
	byKey := map[string]*call{}
	for i := range ended {
		r := &ended[i]
		for _, n := range s.keys(r.Namespace).namesOf(r) {
			c := byKey[n.key]
			if c == nil {
				c = &call{&s.scripts.retire, n.bucket, []string{n.key}, []string{lifetime(r, now)}}
				byKey[n.key] = c
			}
			c.args = append(c.args, string(r.Handle[:]))
		}
	}
	if len(byKey) == 0 {
		return
	}
	calls := make([]call, 0, len(byKey))
	for _, c := range byKey {
		calls = append(calls, *c)
	}
	s.runAll(ctx, calls)
}
