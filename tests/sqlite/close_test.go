package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"cloakroom.example/session/store"
	"cloakroom.example/session/store/sqlstore"
)

// TestCloseDrains: whoever calls while the store closes gets an answer that is
// true; the log is gone afterwards, and so are the goroutines.
func TestCloseDrains(t *testing.T) {
	goroutines := runtime.NumGoroutine()
	name := file(t)
	db, err := sql.Open("sqlite", name)
	if err != nil {
		t.Fatal(err)
	}
	s, err := sqlstore.Open(t.Context(), db, sqlstore.SQLite(), sqlstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	const callers = 200
	errs := make([]error, callers)
	var wg sync.WaitGroup
	for n := range callers {
		wg.Go(func() {
			_, errs[n] = s.Create(context.Background(), store.Creation{Record: record(n, "alice"), Now: start()})
		})
	}
	time.Sleep(time.Millisecond)
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if info, err := os.Stat(name + "-wal"); err == nil && info.Size() > 0 {
		t.Errorf("got a log of %d bytes after Close, want none", info.Size())
	}
	if _, err := s.Load(t.Context(), key(0), nil); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Load after Close: got %v, want ErrUnavailable", err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Errorf("closing again: %v", err)
	}
	db.Close()
	for deadline := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > goroutines && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	if n := runtime.NumGoroutine(); n > goroutines {
		t.Errorf("got %d goroutines after Close, want %d", n, goroutines)
	}
	again := open(t, name, sqlstore.Options{})
	for n, err := range errs {
		_, missing := again.Load(t.Context(), key(n), nil)
		if err != nil && !errors.Is(err, store.ErrUnavailable) || (err == nil) != (missing == nil) {
			t.Errorf("session %d: got %v from Create, then %v from Load", n, err, missing)
		}
	}
}

// TestLocked: while another program holds the write lock, reading goes on, a
// caller that gives up knows that nothing was written, and one that waits too
// long is told so. Afterwards everything works.
func TestLocked(t *testing.T) {
	name := file(t)
	s := open(t, name, sqlstore.Options{BusyTimeout: 100 * time.Millisecond})
	create(t, s, record(0, "alice"))
	other, err := sql.Open("sqlite", name)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	conn, err := other.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(t.Context(), `BEGIN IMMEDIATE`); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Load(t.Context(), key(0), nil); err != nil {
		t.Errorf("Load while locked: %v", err)
	}
	for _, wait := range []time.Duration{10 * time.Millisecond, time.Minute} {
		ctx, cancel := context.WithTimeout(t.Context(), wait)
		_, err := s.Create(ctx, store.Creation{Record: record(1, "alice"), Now: start()})
		cancel()
		if !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("Create while locked, waiting %v: got %v, want ErrUnavailable", wait, err)
		}
	}
	if _, err := conn.ExecContext(t.Context(), `ROLLBACK`); err != nil {
		t.Fatal(err)
	}
	create(t, s, record(1, "alice"))
}
