package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"cloakroom.example/session/store"
)

// storeWrites is a contender that does nothing but store changes of a kilobyte in
// our store, each under its own version: what stands against the plain update of a
// row. Its sessions were made by requests.
func storeWrites(ctx context.Context, dir string) (c contender, done func(context.Context) error, err error) {
	dir = filepath.Join(dir, "store")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return c, nil, err
	}
	lib, err := newCloakroomSQLite(ctx, dir, 0)
	if err != nil {
		return c, nil, err
	}
	records, err := filled(ctx, lib)
	if err != nil {
		_ = lib.close(ctx)
		return c, nil, err
	}
	c = contender{name: "cloakroom's store", least: writers, serve: func(n int) error {
		return inParallel(n, func(i, n int) error {
			for range n {
				r := &records[i]
				r.Parts = []store.Part{{Name: r.Parts[0].Name, Generation: r.Version, Sealed: random(len(r.Parts[0].Sealed))}}
				if err := lib.store.Swap(ctx, *r, time.Now()); err != nil {
					return err
				}
				r.Version++
			}
			return nil
		})
	}}
	return c, lib.close, nil
}

// filled signs in as many users as there are writers, each with a value of a
// kilobyte, and returns their records with it.
func filled(ctx context.Context, lib *cloakroom) ([]store.Record, error) {
	if _, err := parallelWrites(lib); err != nil {
		return nil, err
	}
	page, err := lib.store.List(ctx, store.Query{Now: time.Now(), Max: 2 * writers})
	if err != nil {
		return nil, err
	}
	if len(page.Records) != writers {
		return nil, fmt.Errorf("got %d sessions, want %d", len(page.Records), writers)
	}
	for i := range page.Records {
		r, err := lib.store.Load(ctx, page.Records[i].Key(), []string{"app"})
		if err != nil {
			return nil, err
		}
		if len(r.Parts) != 1 {
			return nil, fmt.Errorf("session %v has %d parts, want 1", r.Handle, len(r.Parts))
		}
		page.Records[i] = r
	}
	return page.Records, nil
}
