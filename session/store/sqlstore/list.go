package sqlstore

import (
	"context"
	"fmt"
	"strings"

	"cloakroom.example/session/store"
)

// List implements [store.Store]. Sessions are listed in the order of their
// handles, which never change.
func (s *Store) List(ctx context.Context, q store.Query) (store.Page, error) {
	where, args := condition(q)
	if q.Cursor != "" {
		after, err := store.ParseHandle(q.Cursor)
		if err != nil {
			return store.Page{}, fmt.Errorf("sqlstore: reading cursor: %w", err)
		}
		where, args = where+` AND s.handle > ?`, append(args, after.String())
	}
	// One more than asked for shows whether there is a next page.
	query := `SELECT ` + rowColumns + where + ` ORDER BY s.handle LIMIT ?`
	args = append(args, q.PageSize()+1)
	var all []found
	err := s.read(ctx, func(ctx context.Context, c *connection) (err error) {
		all, err = readAll(ctx, c, q.Namespace, query, args...)
		return err
	})
	if err != nil {
		return store.Page{}, worded("listing sessions", err)
	}
	return page(all, q), nil
}

// page turns the rows read into the page. Those that cannot be decoded are
// listed with what their columns say, so that they can be seen and revoked.
func page(all []found, q store.Query) (p store.Page) {
	if len(all) > q.PageSize() {
		all = all[:q.PageSize()]
		p.Next = all[len(all)-1].Handle.String()
	}
	for i := range all {
		if all[i].unreadable != nil || q.Wants(&all[i].Record) {
			p.Records = append(p.Records, all[i].Record)
		}
	}
	return p
}

// Count implements [store.Counter].
func (s *Store) Count(ctx context.Context, q store.Query) (int, error) {
	where, args := condition(q)
	return s.count(ctx, "counting sessions", `SELECT COUNT(*)`+where, args)
}

// EstimateAnonymous implements [store.Estimator]. It counts in an index.
func (s *Store) EstimateAnonymous(ctx context.Context, namespace string) (int, error) {
	return s.count(ctx, "counting visitors' sessions",
		`SELECT COUNT(*) FROM sessions WHERE namespace = ? AND ended_at = 0 AND state = ?`,
		[]any{namespace, int64(store.Anonymous)})
}

func (s *Store) count(ctx context.Context, doing, query string, args []any) (int, error) {
	var n int
	err := s.read(ctx, func(ctx context.Context, c *connection) error {
		return readOne(ctx, c, query, args, &n)
	})
	if err != nil {
		return 0, worded(doing, err)
	}
	return n, nil
}

// condition says in SQL what [store.Query.Wants] says.
func condition(q store.Query) (string, []any) {
	var from, where strings.Builder
	from.WriteString(rowFrom)
	where.WriteString(` WHERE s.namespace = ?`)
	args := []any{q.Namespace}
	and := func(term string, values ...any) {
		where.WriteString(` AND ` + term)
		args = append(args, values...)
	}
	if q.Subject != "" {
		and(bySubject(q.Subject), q.Subject)
	}
	if q.State != 0 {
		and(`s.state = ?`, int64(q.State))
	}
	if q.Link != (store.Link{}) {
		from.WriteString(` JOIN session_links l ON l.namespace = s.namespace AND l.handle = s.handle`)
		and(`l.link = ?`, q.Link[:])
	}
	if !q.Ended {
		and(`s.ended_at = 0 AND e.epoch IS NULL AND (s.expires_at = 0 OR s.expires_at > ?)`, nanos(q.Now))
	}
	return from.String() + where.String(), args
}
