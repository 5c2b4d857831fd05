package redis_test

import (
	"context"
	"math"
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

// pass makes days of the engine's time pass: what is left of every lifetime is a
// day less.
func pass(t *testing.T, s opened, by time.Duration) {
	t.Helper()
	all := everyKey(t, s)
	eachNode(t, s, func(ctx context.Context, n rueidis.Client) {
		for key, left := range all {
			if left < 0 {
				continue
			}
			if err := n.Do(ctx, n.B().Pexpire().Key(key).Milliseconds((left - by).Milliseconds()).Build()).Error(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestSessionsWithoutDeadline: sessions that live as long as they are used are found
// by their users, by links and in the list for as long, whatever others there are.
func TestSessionsWithoutDeadline(t *testing.T) {
	const day = 24 * time.Hour
	for name, use := range map[string]func(s store.Store, r *store.Record, at time.Time) error{
		"touched": func(s store.Store, r *store.Record, at time.Time) error {
			return s.Touch(t.Context(), "shop", []store.Touch{{Handle: r.Handle, Seen: at}})
		},
		"swapped": func(s store.Store, r *store.Record, at time.Time) error {
			r.Seen = at
			err := s.Swap(t.Context(), *r, at)
			r.Version++
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := engines()[0].open(t)
			ctx, now := t.Context(), time.Now()
			all := make([]store.Record, 4)
			for i := range all {
				r := typical("shop", i, 100)
				r.Deadline, r.Idle, r.Links = time.Time{}, 2*day, []store.Link{{byte(i + 1)}}
				r.Handle[0] = 7 // all are listed in one place
				if i == 3 {
					r.Deadline = now.Add(1000 * day) // and this one keeps it
				}
				all[i] = r
				if _, err := s.Create(ctx, store.Creation{Record: r, Now: now}); err != nil {
					t.Fatal(err)
				}
			}
			shorten := store.Revocation{Namespace: "shop", Handle: all[0].Handle, Effect: store.EffectShorten, Limit: now.Add(500 * day), Now: now}
			if _, err := s.Revoke(ctx, shorten); err != nil {
				t.Fatal(err)
			}
			for range 20 {
				now = now.Add(day)
				pass(t, s, day)
				for i := range all {
					if err := use(s, &all[i], now); err != nil {
						t.Fatal(err)
					}
				}
			}
			page, err := s.List(ctx, store.Query{Namespace: "shop", Now: now})
			if err != nil || len(page.Records) != len(all) {
				t.Errorf("the list has %d sessions, want %d; error %v", len(page.Records), len(all), err)
			}
			for i, r := range all {
				v := store.Revocation{Namespace: "shop", Subject: r.Subject, Cause: "admin", Now: now}
				if i%2 == 0 {
					v.Subject, v.Link = "", r.Links[0]
				}
				if got, err := s.Revoke(ctx, v); err != nil || len(got.Changed) != 1 {
					t.Errorf("Revoke of what session %d belongs to ended %d, error %v; want 1", i, len(got.Changed), err)
				}
			}
		})
	}
}

// TestEndsFarAway: lifetimes that are longer than can be counted are no short ones.
func TestEndsFarAway(t *testing.T) {
	s := engines()[0].open(t)
	ctx, now := t.Context(), time.Date(1998, 1, 1, 0, 0, 0, 0, time.UTC)
	for n, idle := range []time.Duration{math.MaxInt64, math.MaxInt64 / 2, 150 * 365 * 24 * time.Hour} {
		r := typical("shop", n, 100)
		r.Created, r.Seen, r.Deadline, r.Idle = now, now, time.Time{}, idle
		if n == 0 {
			r.Deadline = time.Date(2262, 1, 1, 0, 0, 0, 0, time.UTC)
		}
		if _, err := s.Create(ctx, store.Creation{Record: r, Now: now}); err != nil {
			t.Fatal(err)
		}
		if err := s.Touch(ctx, "shop", []store.Touch{{Handle: r.Handle, Seen: now.Add(time.Hour)}}); err != nil {
			t.Fatal(err)
		}
		if err := s.Swap(ctx, r, now.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	for key, left := range everyKey(t, s) {
		if left >= 0 && left < 100*365*24*time.Hour && kindOf(s, key) != 'w' {
			t.Errorf("key %q lasts for %v", key, left)
		}
	}
}

// TestSessionsWithoutEnd: one that never ends stays.
func TestSessionsWithoutEnd(t *testing.T) {
	s := engines()[0].open(t)
	now := time.Now()
	r := typical("shop", 1, 100)
	r.Deadline, r.Idle = time.Time{}, 0
	if _, err := s.Create(t.Context(), store.Creation{Record: r, Now: now}); err != nil {
		t.Fatal(err)
	}
	for use, do := range map[string]func() error{
		"Touch": func() error {
			return s.Touch(t.Context(), "shop", []store.Touch{{Handle: r.Handle, Seen: now.Add(time.Hour)}})
		},
		"Swap": func() error { return s.Swap(t.Context(), r, now) },
	} {
		if err := do(); err != nil {
			t.Fatal(err)
		}
		for key, left := range everyKey(t, s) {
			if left != -1 && kindOf(s, key) != 'w' {
				t.Errorf("after %s key %q of a session without any end lasts for %v", use, key, left)
			}
		}
	}
}
