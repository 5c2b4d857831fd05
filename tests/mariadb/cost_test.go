package mariadb_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"cloakroom.example/servers"
	"cloakroom.example/session/store"
	"cloakroom.example/session/store/sqlstore"
	"cloakroom.example/tests/sqltest"
)

// TestLoadIsOneStatement: a load is one statement, and the server writes nothing
// to its log for it; fifty touches are one statement too.
func TestLoadIsOneStatement(t *testing.T) {
	own, err := servers.StartMariaDB(t.Context(), servers.Options{Unsynced: true})
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	s := open(t, databaseOn(t, own), sqlstore.Options{Readers: 1, Writers: 1})
	var touches []store.Touch
	for n := range 50 {
		sqltest.Create(t, s, sqltest.Record(n, "alice"))
		touches = append(touches, store.Touch{Handle: sqltest.Handle(n), Seen: sqltest.Start().Add(time.Minute)})
	}
	load := func() {
		for n := range 50 {
			if _, err := s.Load(t.Context(), sqltest.Key(n), []string{"values"}); err != nil {
				t.Fatal(err)
			}
		}
	}
	load() // connects and prepares
	before := counters(t, own)
	for range 20 {
		load()
	}
	between := counters(t, own)
	if err := s.Touch(t.Context(), "shop", touches); err != nil {
		t.Fatal(err)
	}
	after := counters(t, own)
	loads, touched := between.since(before), after.since(between)
	if loads["Com_stmt_execute"] != 1000 || loads["Com_stmt_prepare"] != 0 || loads["Handler_write"]+loads["Handler_update"] != 0 {
		t.Errorf("got %v for 1000 loads, want 1000 executions and nothing else", loads)
	}
	// The server's own housekeeping writes some bytes at any time.
	if loads["Innodb_os_log_written"] > 10_000 {
		t.Errorf("got %d bytes of log for 1000 loads, want none", loads["Innodb_os_log_written"])
	}
	if touched["Com_stmt_execute"] != 1 || touched["Handler_update"] != 50 {
		t.Errorf("got %v for 50 touches, want one execution and 50 rows", touched)
	}
}

type statistics map[string]int64

func counters(t testing.TB, s *servers.Server) statistics {
	t.Helper()
	text, err := s.Run(t.Context(), `SHOW GLOBAL STATUS WHERE variable_name IN ('Com_stmt_execute', 'Com_stmt_prepare', `+
		`'Innodb_os_log_written', 'Handler_write', 'Handler_update', 'Innodb_deadlocks')`)
	if err != nil {
		t.Fatal(err)
	}
	all := statistics{}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "\t")
		if all[name], err = strconv.ParseInt(value, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func (s statistics) since(before statistics) statistics {
	d := statistics{}
	for name, value := range s {
		d[name] = value - before[name]
	}
	return d
}

// TestSweepersShare: two nodes sweep what has expired at the same time, while
// others touch and create; each session is reported by one of them, and nobody
// fails.
func TestSweepersShare(t *testing.T) {
	const sessions = 600
	name := database(t)
	nodes := []*sqlstore.Store{open(t, name, sqlstore.Options{}), open(t, name, sqlstore.Options{})}
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for n := w; n < sessions; n += 8 {
				sqltest.Create(t, nodes[n%2], sqltest.Record(n, fmt.Sprint("user ", n%5)))
			}
		})
	}
	wg.Wait()
	before := counters(t, server)
	swept := make([][]store.Record, 2)
	ctx := context.Background()
	for i, node := range nodes {
		wg.Go(func() {
			for more := true; more; {
				done, err := node.Sweep(ctx, store.Sweeping{Namespace: "shop", Now: sqltest.Start().Add(time.Hour), Max: 100})
				if err != nil {
					t.Errorf("sweeping: %v", err)
					return
				}
				swept[i] = append(swept[i], done.Expired...)
				more = done.More
			}
		})
		wg.Go(func() {
			for n := range 30 {
				sqltest.Create(t, node, sqltest.Record(sessions+2*n+i, "late"))
				at := sqltest.Start().Add(time.Minute)
				if err := node.Touch(ctx, "other", []store.Touch{{Handle: sqltest.Handle(n), Seen: at}}); err != nil {
					t.Errorf("touching: %v", err)
				}
			}
		})
	}
	wg.Wait()
	// What came while they swept.
	done, err := nodes[0].Sweep(ctx, store.Sweeping{Namespace: "shop", Now: sqltest.Start().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[store.Handle]int{}
	for _, r := range append(append(swept[0], swept[1]...), done.Expired...) {
		seen[r.Handle]++
	}
	for h, n := range seen {
		if n != 1 {
			t.Errorf("session %v was reported %d times, want once", h, n)
		}
	}
	if len(seen) != sessions+60 {
		t.Errorf("got %d sessions ended, want %d", len(seen), sessions+60)
	}
	t.Logf("swept %d and %d; %d deadlocks", len(swept[0]), len(swept[1]), counters(t, server).since(before)["Innodb_deadlocks"])
}

// TestSweepersReviveNothing: several nodes give the sessions that a revocation of
// everything has ended their tombstones, while they hold locks on the revocation's
// row in turn; none of them takes a session for one that it has not ended.
func TestSweepersReviveNothing(t *testing.T) {
	const sessions = 400
	name := database(t)
	nodes := []*sqlstore.Store{open(t, name, sqlstore.Options{}), open(t, name, sqlstore.Options{}), open(t, name, sqlstore.Options{})}
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for n := w; n < sessions; n += 8 {
				sqltest.Create(t, nodes[0], sqltest.Record(n, fmt.Sprint("user ", n%5)))
			}
		})
	}
	wg.Wait()
	ctx := context.Background()
	v := store.Revocation{Namespace: "shop", All: true, Cause: "admin", Now: sqltest.Start()}
	if _, err := nodes[0].Revoke(ctx, v); err != nil {
		t.Fatal(err)
	}
	for _, node := range nodes {
		wg.Go(func() {
			for more := true; more; {
				done, err := node.Sweep(ctx, store.Sweeping{Namespace: "shop", Now: sqltest.Start(), Max: 64})
				if err != nil {
					t.Errorf("sweeping: %v", err)
					return
				}
				more = done.More
			}
		})
	}
	wg.Wait()
	alive, err := nodes[0].Count(ctx, store.Query{Namespace: "shop", Now: sqltest.Start()})
	if err != nil || alive != 0 {
		t.Errorf("got %d sessions alive, error %v, want none", alive, err)
	}
}
