package mariadb_test

import (
	"context"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"cloakroom.example/session/store/sqlstore"
	"cloakroom.example/tests/sqltest"
)

// faultyStore opens a store, with one connection for reading and one for writing,
// whose driver fails as told.
func faultyStore(t testing.TB, name string) (*sqlstore.Store, *sqltest.Faults) {
	t.Helper()
	db, f := sqltest.FaultyDB(t, "mysql", name)
	s, err := sqlstore.Open(t.Context(), db, sqlstore.MySQL(), sqlstore.Options{Readers: 1, Writers: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		s.Close(ctx)
	})
	return s, f
}

// refusal is an error of the server.
func refusal(number uint16) error {
	return &mysql.MySQLError{Number: number, SQLState: [5]byte([]byte("HY000")), Message: "injected"}
}

// TestFaultAtEveryStep: see [sqltest.Engine.EveryStep].
func TestFaultAtEveryStep(t *testing.T) {
	kinds := append(sqltest.Kinds(),
		sqltest.Fault{Name: "disk full", Err: refusal(1114), Refusal: true},
		sqltest.Fault{Name: "deadlock", Err: refusal(1213), Refusal: true},
		sqltest.Fault{Name: "read-only", Err: refusal(1290), Refusal: true},
		sqltest.Fault{Name: "killed", Err: refusal(1317)},
		sqltest.Fault{Name: "invalid connection after the call", Err: mysql.ErrInvalidConn, After: true},
	)
	for _, op := range sqltest.Operations() {
		t.Run(op.Name, func(t *testing.T) {
			t.Parallel()
			name := database(t)
			watch, direct := openWith(t, name, sqlstore.Options{Readers: 2})
			s, f := faultyStore(t, name)
			sqltest.Engine{
				Watch: watch, Store: s, Direct: direct, Faults: f,
				Numbers: `INSERT INTO %s WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60)`,
				Name:    `CONCAT(?, ' ', i)`,
				Bind:    func(query string) string { return query },
			}.EveryStep(t, op, kinds)
		})
	}
}
