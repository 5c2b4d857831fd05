// Package durable keeps sessions in SQLite, so that they outlive the program: a
// migration that signed everybody out at the next restart would be none.
package durable

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"cloakroom.example/session/store"
	"cloakroom.example/session/store/sqlstore"
)

// Sessions is a store with its key.
type Sessions struct {
	Store store.Store
	Keys  [][]byte
	close func() error
}

// timeout is how long opening and closing may take.
const timeout = 30 * time.Second

// Open opens the sessions in a folder, or makes them.
func Open(dir string) (*Sessions, error) {
	key, err := Key(filepath.Join(dir, "session.key"))
	if err != nil {
		return nil, err
	}
	db, err := Database(filepath.Join(dir, "sessions.db"))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	s, err := sqlstore.Open(ctx, db, sqlstore.SQLite(), sqlstore.Options{})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening sessions: %w", err), db.Close())
	}
	return &Sessions{Store: s, Keys: [][]byte{key}, close: func() error {
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		return errors.Join(s.Close(ctx), db.Close())
	}}, nil
}

// Close closes the store, after its manager and the server.
func (s *Sessions) Close() error { return s.close() }

// Database opens an SQLite file that only its owner can read. Transactions take
// the right to write when they begin, so that they cannot fail halfway.
func Database(file string) (*sql.DB, error) {
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening database: %w", err)
	}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("opening database: %w", err)
	}
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=busy_timeout(5000)&_txlock=immediate")
	if err != nil {
		return nil, fmt.Errorf("opening database: %w", err)
	}
	return db, nil
}

// keySize is what both session libraries want.
const keySize = 32

// Key reads a key, and makes it at first. A real application keeps its keys
// elsewhere than its data.
func Key(file string) ([]byte, error) {
	key, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		key = make([]byte, keySize)
		_, _ = rand.Read(key) // never fails
		err = os.WriteFile(file, key, 0o600)
	}
	if err == nil && len(key) != keySize {
		err = fmt.Errorf("%s is not %d bytes long", file, keySize)
	}
	if err != nil {
		return nil, fmt.Errorf("reading key: %w", err)
	}
	return key, nil
}
