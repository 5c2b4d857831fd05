package postgres_test

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cloakroom.example/session/store"
	"cloakroom.example/session/store/sqlstore"
	"cloakroom.example/tests/sqltest"
)

const sessions = 10_000

// BenchmarkParallel runs each operation from 64 goroutines. To compare with:
// bare statements through the same driver, prepared, as peers send them: a SELECT
// of one column by key, and an upsert that commits.
func BenchmarkParallel(b *testing.B) {
	url := database(b)
	s := open(b, url, sqlstore.Options{})
	fill(b, url, sessions)
	plain := connect(b, url)
	plain.SetMaxOpenConns(64)
	plain.SetMaxIdleConns(64)
	edit(b, plain, `CREATE TABLE plain (token text PRIMARY KEY, data bytea NOT NULL)`)
	edit(b, plain, `INSERT INTO plain SELECT handle, head FROM sessions`)
	find, change := prepare(b, plain, `SELECT data FROM plain WHERE token = $1`),
		prepare(b, plain, `INSERT INTO plain VALUES ($1, $2) ON CONFLICT (token) DO UPDATE SET data = excluded.data`)
	versions := make([]atomic.Uint64, sessions)
	for _, c := range []struct {
		name string
		run  func(ctx context.Context, worker, n int) error
	}{
		{"load", func(ctx context.Context, _, n int) error {
			_, err := s.Load(ctx, key(n), []string{"values"})
			return err
		}},
		{"bare-select", func(ctx context.Context, _, n int) error {
			var data []byte
			return find.QueryRowContext(ctx, key(n).Handle.String()).Scan(&data)
		}},
		{"swap", func(ctx context.Context, worker, n int) error {
			r := sqltest.Record(worker, "alice")
			r.Handle, r.Version = key(worker).Handle, 1+versions[worker].Load()
			versions[worker].Add(1)
			return s.Swap(ctx, r, sqltest.Start())
		}},
		{"bare-upsert", func(ctx context.Context, worker, n int) error {
			_, err := change.ExecContext(ctx, key(worker).Handle.String(), make([]byte, 400))
			return err
		}},
		{"create", func(ctx context.Context, worker, n int) error {
			r := sqltest.Record(0, fmt.Sprint("user ", n))
			r.Handle = store.Handle{byte(n), byte(n >> 8), byte(n >> 16), byte(worker), 1, byte(time.Now().UnixNano()), byte(time.Now().UnixNano() >> 8)}
			_, err := s.Create(ctx, store.Creation{Record: r, Now: sqltest.Start(), Since: sqltest.Start()})
			return err
		}},
		{"revoke", func(ctx context.Context, worker, n int) error {
			_, err := s.Revoke(ctx, store.Revocation{Namespace: "shop", Handle: key(n).Handle, Now: sqltest.Start()})
			return err
		}},
	} {
		b.Run(c.name, func(b *testing.B) { parallel(b, c.run) })
	}
}

func parallel(b *testing.B, run func(ctx context.Context, worker, n int) error) {
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	var next atomic.Int64
	var wg sync.WaitGroup
	for worker := range 64 {
		wg.Go(func() {
			for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
				if err := run(ctx, worker, int(n)*7919%sessions); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "op/s")
}

func prepare(b *testing.B, db *sql.DB, query string) *sql.Stmt {
	b.Helper()
	stmt, err := db.Prepare(query)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { stmt.Close() })
	return stmt
}

// key is the n-th of those that fill makes.
func key(n int) store.Key {
	var h store.Handle
	copy(h[:], fmt.Sprintf("%016d", n))
	return store.Key{Namespace: "shop", Handle: h}
}

// fill copies one session to so many.
func fill(t testing.TB, url string, n int) {
	t.Helper()
	s := open(t, url, sqlstore.Options{Readers: 1, Writers: 1})
	db := connect(t, url)
	first := sqltest.Record(0, "alice")
	first.Handle = key(0).Handle
	sqltest.Create(t, s, first)
	const columns = `version, state, role, tenant, created, seen, idle, idle_locks, ` +
		`auth_at, deadline, locked, limit_at, ended_at, cause, ended_by, epoch, facts, head`
	// A handle of digits, as Handle.String spells it.
	const name = `left(translate(encode(convert_to(lpad(i::text, 16, '0'), 'UTF8'), 'base64'), '+/', '-_'), 22)`
	edit(t, db, `INSERT INTO sessions (namespace, handle, subject, `+columns+`) SELECT namespace, `+name+`, 'user ' || i, `+columns+
		` FROM sessions, generate_series(1, $1::int) i WHERE handle = $2`, n-1, first.Handle.String())
	edit(t, db, `INSERT INTO session_parts SELECT namespace, `+name+`, name, generation, sealed `+
		`FROM session_parts, generate_series(1, $1::int) i WHERE handle = $2`, n-1, first.Handle.String())
	edit(t, db, `ANALYZE`)
}
