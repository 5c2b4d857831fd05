package sqlstore

import (
	"strings"

	"cloakroom.example/session/store"
)

// What a statement does many times is a table of parameters, which OFFSET 0 keeps
// apart: if the planner knew that there is one namespace, it could, while tables are
// empty, choose to read all of its sessions, and would keep to that. For the same
// reason, conditions on ended_at do not name it in a way that suits partial indexes.
// So rows are found by their key, and locked in the order of the tables.

// touchPostgres returns one statement for many touches; see Store.Touch for what
// it says.
func touchPostgres(namespace string, touches []store.Touch) (string, []any) {
	handles, times := make([]string, len(touches)), make([]int64, len(touches))
	for i, t := range touches {
		handles[i], times[i] = t.Handle.String(), nanos(t.Seen)
	}
	return `UPDATE sessions AS s SET seen = t.at ` +
		`FROM (SELECT ?::text AS namespace, u.* FROM unnest(?::text[], ?::bigint[]) AS u(handle, at) OFFSET 0) t ` +
		`WHERE s.namespace = t.namespace AND s.handle = t.handle ` + touchable(`t.at`), []any{namespace, handles, times}
}

// loadManyPostgres returns one statement for many loads.
func loadManyPostgres(loads []*loading) (string, []any) {
	namespaces, handles, names := make([]string, len(loads)), make([]string, len(loads)), make(escaped, len(loads))
	for i, l := range loads {
		namespaces[i], handles[i] = l.key.Namespace, l.key.Handle.String()
		names[i] = strings.Join(escapeAll(l.names), textSeparator)
	}
	return `SELECT k.n - 1, ` + briefColumns + `, p.name, p.generation, p.sealed ` +
		`FROM unnest(?::text[], ?::text[], ?::text[]) WITH ORDINALITY AS k(namespace, handle, names, n) ` +
		`JOIN sessions s ON s.namespace = k.namespace AND s.handle = k.handle ` +
		`LEFT JOIN session_parts p ON p.namespace = s.namespace AND p.handle = s.handle ` +
		`AND p.name = ANY (string_to_array(k.names, ` + `E'\x1f'))`, []any{namespaces, handles, names}
}

// swapManyPostgres returns one statement for many Swaps. Rows are found, and so
// locked, in the order of the arrays; parts are written for those that were
// changed, whose places come back.
func swapManyPostgres(swaps []*swapping) (string, []any) {
	n := len(swaps)
	handles, heads := make([]string, n), make([][]byte, n)
	versions, facts, seen, now := make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, n)
	locked, least, most := make([]int64, n), make([]int64, n), make([]int64, n)
	var p partArrays
	for i, w := range swaps {
		r := w.record
		handles[i], heads[i], versions[i], facts[i] = r.Handle.String(), w.head, int64(r.Version), w.facts
		seen[i], now[i], locked[i] = nanos(r.Seen), nanos(w.now), flag(r.Locked)
		least[i], most[i] = w.limits()
		for _, part := range r.Parts {
			p.add(i, part)
		}
	}
	namespace := swaps[0].record.Namespace
	args := []any{namespace, handles, heads, versions, facts, seen, locked, least, most, now}
	query := swapManyUpdate
	if p.removing() {
		query += swapManyRemove
		args = append(args, p.removedOf, p.removed)
	}
	if p.putting() {
		query += swapManyPut
		args = append(args, p.putOf, p.names, p.generations, p.sealed)
	}
	return query + ` SELECT n - 1 FROM changed`, args
}

const (
	swapManyUpdate = `WITH changed AS (UPDATE sessions AS s SET version = s.version + 1, head = k.head, seen = GREATEST(s.seen, k.seen) ` +
		`FROM (SELECT ?::text AS namespace, u.* FROM unnest(?::text[], ?::bytea[], ?::bigint[], ?::bigint[], ?::bigint[], ?::bigint[], ` +
		`?::bigint[], ?::bigint[], ?::bigint[]) ` +
		`WITH ORDINALITY AS u(handle, head, version, facts, seen, locked, least, most, now, n) OFFSET 0) k ` +
		`WHERE s.namespace = k.namespace AND s.handle = k.handle AND ` + swapManyIf + ` RETURNING k.n, s.namespace, s.handle)`
	swapManyRemove = `, removed AS (DELETE FROM session_parts p USING changed c, unnest(?::bigint[], ?::text[]) AS q(n, name) ` +
		`WHERE c.n = q.n AND p.namespace = c.namespace AND p.handle = c.handle AND p.name = q.name)`
	swapManyPut = `, put AS (INSERT INTO session_parts (namespace, handle, name, generation, sealed) ` +
		`SELECT c.namespace, c.handle, q.name, q.generation, q.sealed FROM changed c ` +
		`JOIN unnest(?::bigint[], ?::text[], ?::bigint[], ?::bytea[]) AS q(n, name, generation, sealed) ON q.n = c.n ` +
		`ON CONFLICT (namespace, handle, name) DO UPDATE SET generation = excluded.generation, sealed = excluded.sealed)`
)

// partArrays are the parts of many Swaps, column by column.
type partArrays struct {
	removedOf []int64
	removed   []string

	putOf, generations []int64
	names              []string
	sealed             [][]byte
}

// add adds a part of the Swap in place i.
func (p *partArrays) add(i int, part store.Part) {
	n := int64(i + 1)
	if part.Sealed == nil {
		p.removedOf, p.removed = append(p.removedOf, n), append(p.removed, part.Name)
		return
	}
	p.putOf, p.generations = append(p.putOf, n), append(p.generations, int64(part.Generation))
	p.names, p.sealed = append(p.names, part.Name), append(p.sealed, part.Sealed)
}

func (p *partArrays) removing() bool { return len(p.removed) > 0 }
func (p *partArrays) putting() bool  { return len(p.names) > 0 }
