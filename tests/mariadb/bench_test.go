package mariadb_test

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"cloakroom.example/session/store"
	"cloakroom.example/session/store/sqlstore"
	"cloakroom.example/tests/sqltest"
)

// callers is how many goroutines use a store at the same time.
const callers = 64

// BenchmarkRead loads sessions with their part, from many goroutines. To compare
// with: a SELECT by key of one table through database/sql, as session stores do
// who keep one blob.
func BenchmarkRead(b *testing.B) {
	s, db := filled(b)
	b.Run("store", func(b *testing.B) {
		share(b, func(w, i int) error {
			_, err := s.Load(b.Context(), sqltest.Key(w), []string{"values"})
			return err
		})
	})
	b.Run("one-blob", func(b *testing.B) {
		share(b, func(w, i int) error {
			var data []byte
			return db.QueryRowContext(b.Context(), `SELECT data FROM blobs WHERE token = ? AND UTC_TIMESTAMP(6) < expiry`, w).Scan(&data)
		})
	})
}

// BenchmarkWrite changes sessions from many goroutines, durably. To compare with:
// an upsert of one table, which loses updates.
func BenchmarkWrite(b *testing.B) {
	s, db := filled(b)
	b.Run("store", func(b *testing.B) {
		share(b, func(w, i int) error {
			r, err := s.Load(b.Context(), sqltest.Key(w), nil)
			if err != nil {
				return err
			}
			r.Parts = []store.Part{{Name: "values", Generation: uint64(i), Sealed: fmt.Appendf(nil, "%0100d", i)}}
			return s.Swap(b.Context(), r, sqltest.Start())
		})
	})
	b.Run("one-blob", func(b *testing.B) {
		share(b, func(w, i int) error {
			var data []byte
			err := db.QueryRowContext(b.Context(), `SELECT data FROM blobs WHERE token = ? AND UTC_TIMESTAMP(6) < expiry`, w).Scan(&data)
			if err != nil {
				return err
			}
			_, err = db.ExecContext(b.Context(), `INSERT INTO blobs (token, data, expiry) VALUES (?, ?, '2037-01-01') `+
				`ON DUPLICATE KEY UPDATE data = VALUES(data), expiry = VALUES(expiry)`, w, fmt.Appendf(nil, "%0300d", i))
			return err
		})
	})
}

// filled returns a store, and a table with one blob, with a session per caller.
func filled(b *testing.B) (*sqlstore.Store, *sql.DB) {
	name := database(b)
	s := open(b, name, sqlstore.Options{})
	db, err := sql.Open("mysql", name)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(callers)
	db.SetMaxIdleConns(callers)
	if _, err := db.Exec(`CREATE TABLE blobs (token CHAR(43) PRIMARY KEY, data BLOB NOT NULL, expiry TIMESTAMP(6) NOT NULL)`); err != nil {
		b.Fatal(err)
	}
	for n := range callers {
		sqltest.Create(b, s, sqltest.Record(n, fmt.Sprint("user ", n)))
		if _, err := db.Exec(`INSERT INTO blobs VALUES (?, ?, '2037-01-01')`, n, make([]byte, 300)); err != nil {
			b.Fatal(err)
		}
	}
	return s, db
}

// share runs do b.N times, from many goroutines; w numbers these.
func share(b *testing.B, do func(w, i int) error) {
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	b.ResetTimer()
	for w := range callers {
		wg.Go(func() {
			for i := left.Add(-1); i >= 0; i = left.Add(-1) {
				if err := do(w, int(i)); err != nil && context.Cause(b.Context()) == nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
}
