package postgres_test

import (
	"io"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"cloakroom.example/session/store/sqlstore"
	"cloakroom.example/tests/sqltest"
)

// dollars turns each ? into $1, $2 and so on.
func dollars(query string) string {
	words := strings.Split(query, "?")
	for i := range words[1:] {
		words[i] += "$" + strconv.Itoa(i+1)
	}
	return strings.Join(words, "")
}

// TestFaultAtEveryStep: see [sqltest.Engine.EveryStep].
func TestFaultAtEveryStep(t *testing.T) {
	refusal := func(state string) error { return &pgconn.PgError{Severity: "ERROR", Code: state, Message: "injected"} }
	kinds := append(sqltest.Kinds(),
		sqltest.Fault{Name: "cut off after the call", Err: io.ErrUnexpectedEOF, After: true},
		sqltest.Fault{Name: "disk full", Err: refusal("53100"), Refusal: true},
		sqltest.Fault{Name: "deadlock", Err: refusal("40P01"), Refusal: true},
		sqltest.Fault{Name: "too slow", Err: refusal("57014"), Refusal: true},
		sqltest.Fault{Name: "going down", Err: refusal("57P01")},
		sqltest.Fault{Name: "going down after the call", Err: refusal("57P01"), After: true},
	)
	for _, op := range sqltest.Operations() {
		t.Run(op.Name, func(t *testing.T) {
			t.Parallel()
			url := database(t)
			watch, direct := openWith(t, url, sqlstore.Options{Readers: 2, Writers: 2})
			db, f := sqltest.FaultyDB(t, "pgx", url)
			s := openOn(t, db, sqlstore.Options{Readers: 1, Writers: 1})
			sqltest.Engine{
				Watch: watch, Store: s, Direct: direct, Faults: f,
				Numbers: `WITH n (i) AS (SELECT generate_series(1, 60)) INSERT INTO %s`,
				Name:    `?::text || ' ' || i`,
				Bind:    dollars,
			}.EveryStep(t, op, kinds)
		})
	}
}
