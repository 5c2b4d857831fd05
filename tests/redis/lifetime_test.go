package redis_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"cloakroom.example/session/store"
)

// everyKey returns the keys of a store with what is left of their lifetimes, those
// that have none as -1.
func everyKey(t *testing.T, s opened) map[string]time.Duration {
	t.Helper()
	all := map[string]time.Duration{}
	eachNode(t, s, func(ctx context.Context, n rueidis.Client) {
		if role, err := n.Do(ctx, n.B().Role().Build()).ToArray(); err != nil || len(role) != 3 {
			return // a replica or a sentinel
		}
		for cursor := uint64(0); ; {
			entry, err := n.Do(ctx, n.B().Scan().Cursor(cursor).Match(s.options.Prefix+"*").Count(1000).Build()).AsScanEntry()
			if err != nil {
				t.Fatal(err)
			}
			for _, key := range entry.Elements {
				ms, err := n.Do(ctx, n.B().Pttl().Key(key).Build()).AsInt64()
				if err != nil {
					t.Fatal(err)
				}
				switch ms {
				case -2: // gone meanwhile
				case -1:
					all[key] = -1
				default:
					all[key] = time.Duration(ms) * time.Millisecond
				}
			}
			if cursor = entry.Cursor; cursor == 0 {
				break
			}
		}
	})
	return all
}

func eachNode(t *testing.T, s opened, do func(ctx context.Context, n rueidis.Client)) {
	t.Helper()
	nodes, err := s.nodes()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		do(t.Context(), n)
	}
}

// kindOf returns the letter behind the prefix.
func kindOf(s opened, key string) byte { return strings.TrimPrefix(key, s.options.Prefix)[0] }

// TestEveryKeyHasAnEnd: nothing is left for ever, whatever was done, and nothing
// goes too early. Lifetimes count from the caller's time, which here is in 2131.
func TestEveryKeyHasAnEnd(t *testing.T) {
	const hour = time.Hour
	for _, e := range engines() {
		t.Run(e.name, func(t *testing.T) {
			s := e.open(t)
			now := time.Date(2131, 1, 1, 0, 0, 0, 0, time.UTC)
			alice := lifeOf(t, s, now)
			keys := everyKey(t, s)
			kinds := map[byte]int{}
			for key, left := range keys {
				kind := kindOf(s, key)
				kinds[kind]++
				least, most := 24*hour, 12*hour+26*hour
				switch {
				case kind == 'w':
					least, most = 0, time.Second
				case strings.HasSuffix(key, alice.Handle.String()):
					least, most = 24*hour+29*time.Minute, 24*hour+41*time.Minute // 30 minutes idle
				}
				if left < least || left > most {
					t.Errorf("key %q lasts for %v, want %v to %v", key, left, least, most)
				}
			}
			for _, kind := range []byte("reldisx") {
				delete(kinds, kind)
			}
			if delete(kinds, 'w'); len(kinds) > 0 {
				t.Errorf("there are keys of kinds that should not be there: %v", kinds)
			}
		})
	}
}

// lifeOf does everything that there is to do, and returns a session that lives.
func lifeOf(t *testing.T, s store.Store, now time.Time) store.Record {
	t.Helper()
	ctx := t.Context()
	make := func(subject string, state store.State) store.Record {
		r := typical("shop", 0, 100)
		r.Subject, r.State, r.Links = subject, state, []store.Link{{1}}
		r.Created, r.Seen, r.Assurance.At, r.Deadline = now, now, now, now.Add(12*time.Hour)
		return r
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	create := func(r store.Record, replace *store.Record) store.Record {
		t.Helper()
		c := store.Creation{Record: r, Now: now, Max: 2, EvictOldest: true, Since: now}
		if replace != nil {
			c.Replace = &store.Replace{Handle: replace.Handle, Version: replace.Version}
		}
		_, err := s.Create(ctx, c)
		must(err)
		return r
	}
	guest := typical("shop", 0, 10)
	guest.Subject, guest.State, guest.Created, guest.Seen, guest.Deadline = "", store.Anonymous, now, now, now.Add(time.Hour)
	create(guest, nil)
	create(make("alice", store.Active), &guest)
	for range 3 {
		create(make("alice", store.Active), nil)
	}
	for _, v := range []store.Revocation{{Subject: "nobody"}, {Link: store.Link{9}}, {Subject: "alice"}, {All: true}} {
		create(make("bob", store.Active), nil)
		v.Namespace, v.Cause, v.Now = "shop", "admin", now
		_, err := s.Revoke(ctx, v)
		must(err)
		now = now.Add(time.Second)
	}
	r := create(make("alice", store.Active), nil)
	must(s.Swap(ctx, r, now))
	must(s.Touch(ctx, "shop", []store.Touch{{Handle: r.Handle, Seen: now.Add(time.Minute)}}))
	return r
}

// TestSessionsWithoutEnd: a session that lives as long as it is used is found by
// its user for as long.
func TestSessionsWithoutEnd(t *testing.T) {
	e := engines()[0]
	s := e.open(t)
	ctx, now := t.Context(), time.Now()
	r := typical("shop", 0, 100)
	r.Deadline, r.Links = time.Time{}, []store.Link{{1}}
	if _, err := s.Create(ctx, store.Creation{Record: r, Now: now}); err != nil {
		t.Fatal(err)
	}
	// The time comes when what the session is found by has nearly gone.
	short := func() {
		eachNode(t, s, func(ctx context.Context, n rueidis.Client) {
			for key := range everyKey(t, s) {
				if err := n.Do(ctx, n.B().Pexpire().Key(key).Milliseconds((24 * time.Hour).Milliseconds()).Build()).Error(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
	for name, use := range map[string]func(at time.Time) error{
		"Touch": func(at time.Time) error {
			return s.Touch(ctx, "shop", []store.Touch{{Handle: r.Handle, Seen: at}})
		},
		"Swap": func(at time.Time) error {
			err := s.Swap(ctx, r, at)
			r.Version++
			return err
		},
	} {
		short()
		now = now.Add(time.Minute)
		if err := use(now); err != nil {
			t.Fatal(err)
		}
		for key, left := range everyKey(t, s) {
			least := 48 * time.Hour
			if kindOf(s, key) == 'r' {
				least = 24*time.Hour + 20*time.Minute
			}
			if left < least && kindOf(s, key) != 'w' {
				t.Errorf("after %s key %q lasts for %v, want %v at least", name, key, left, least)
			}
		}
	}
	// And one that never ends stays.
	r = typical("shop", 1, 100)
	r.Deadline, r.Idle = time.Time{}, 0
	if _, err := s.Create(ctx, store.Creation{Record: r, Now: now}); err != nil {
		t.Fatal(err)
	}
	for key, left := range everyKey(t, s) {
		if strings.HasSuffix(key, r.Handle.String()) && left != -1 {
			t.Errorf("a session without any end lasts for %v", left)
		}
	}
}
