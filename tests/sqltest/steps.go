package sqltest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"testing"

	"cloakroom.example/session/store"
	"cloakroom.example/session/store/sqlstore"
)

// MostCalls is more than any operation makes.
const MostCalls = 60

// Engine is a database to let operations fail on.
type Engine struct {
	// Watch sees what became of them, Direct writes behind the back of both
	// stores, and Store is the one whose driver fails, as Faults says.
	Watch, Store *sqlstore.Store
	Direct       *sql.DB
	Faults       *Faults
	// Numbers begins an INSERT … SELECT that reads a table n with a column i from
	// 1 to MostCalls; its %s is replaced by the table and columns written. Name
	// joins a parameter, a blank and i.
	Numbers, Name string
	// Bind rewrites the ? of a statement into the product's placeholders.
	Bind func(string) string
}

// EveryStep lets the first, second, third … call of the driver fail, in every way
// given, during the operation, until it has no more calls. What can be seen
// afterwards through another connection is all of the operation or nothing of it,
// as its error says, and the next operation works.
func (e Engine) EveryStep(t *testing.T, op Operation, kinds []Fault) {
	Scene(t, e.Watch, "clean")
	for _, kind := range kinds {
		e.copyScene(t, "clean", kind.Name)
	}
	before := visible(t, e.Watch, "clean")
	if err := op.Run(t.Context(), e.Watch, "clean"); err != nil {
		t.Fatal(err)
	}
	after := visible(t, e.Watch, "clean")
	for _, kind := range kinds {
		t.Run(kind.Name, func(t *testing.T) { e.everyCall(t, op, kind, before, after) })
	}
}

// copyScene copies the scene of one namespace to those called "to 1", "to 2" and
// so on.
func (e Engine) copyScene(t testing.TB, from, to string) {
	t.Helper()
	for table, columns := range map[string]string{
		"sessions": `handle, version, state, subject, role, tenant, created, seen, idle, idle_locks, ` +
			`auth_at, deadline, locked, limit_at, ended_at, cause, ended_by, epoch, facts, head`,
		"session_parts": `handle, name, generation, sealed`,
		"session_links": `handle, link`,
	} {
		query := fmt.Sprintf(e.Numbers, table+` (namespace, `+columns+`)`) +
			` SELECT ` + e.Name + `, ` + columns + ` FROM n, ` + table + ` WHERE namespace = ?`
		if _, err := e.Direct.Exec(e.Bind(query), to, from); err != nil {
			t.Fatal(err)
		}
	}
}

// everyCall runs the operation once for each of its calls, each time in a fresh
// scene.
func (e Engine) everyCall(t *testing.T, op Operation, kind Fault, before, after string) {
	for n := 1; n <= MostCalls; n++ {
		namespace := fmt.Sprint(kind.Name, " ", n)
		ctx, cancel := context.WithCancel(t.Context())
		e.Faults.Arm(kind, n, cancel)
		err := op.Run(ctx, e.Store, namespace)
		fired := e.Faults.Disarm()
		cancel()
		// This also waits for an operation that its caller left alone.
		next := Record(1, "next")
		next.Namespace = namespace + " next"
		if _, failed := e.Store.Create(t.Context(), store.Creation{Record: next, Now: Start()}); failed != nil {
			t.Fatalf("call %d: the operation afterwards: %v", n, failed)
		}
		checkOutcome(t, n, err, visible(t, e.Watch, namespace), before, after)
		if !fired {
			if err != nil || n == 1 {
				t.Fatalf("call %d: got error %v without a fault, want none", n, err)
			}
			t.Logf("%d calls", n-1)
			return
		}
	}
	t.Fatalf("the operation makes more than %d calls", MostCalls)
}

func checkOutcome(t *testing.T, n int, err error, got, before, after string) {
	t.Helper()
	is := "something else"
	switch got {
	case before:
		is = "nothing of it"
	case after:
		is = "all of it"
	}
	switch {
	case err == nil && got == after:
	case errors.Is(err, store.ErrUnavailable) && got == before:
	case errors.Is(err, store.ErrUnknownOutcome) && (got == before || got == after):
	case err == nil, errors.Is(err, store.ErrUnavailable), errors.Is(err, store.ErrUnknownOutcome):
		t.Errorf("call %d: got error %v, but %s was done", n, err, is)
		if is == "something else" {
			t.Logf("got\n%s\nwant\n%s\nor\n%s", got, before, after)
		}
	default:
		t.Errorf("call %d: got error %v, want ErrUnavailable or ErrUnknownOutcome", n, err)
	}
}
