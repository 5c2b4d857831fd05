package sqlstore

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"cloakroom.example/session/store"
)

// Neither product takes arrays. What a statement does many times is a table of
// parameters, whose types have to be said, joined in the order given; its number
// of rows is rounded up, so that few statements are prepared, and the empty handle
// of those added matches nothing.

// mysqlRows returns a table k with rounded rows of the columns, each a parameter
// and its name.
func mysqlRows(n int, columns string) (table string, rows int) {
	rows = rounded(n)
	row := `SELECT ` + columns
	return `(` + row + strings.Repeat(` UNION ALL `+row, rows-1) + `) k`, rows
}

// rounded returns the next power of two, so that few statements are prepared.
func rounded(n int) int {
	rows := 1
	for rows < n {
		rows *= 2
	}
	return rows
}

// touchMySQL returns one statement for many touches; see Store.Touch for what it
// says.
func touchMySQL(namespace string, touches []store.Touch) (string, []any) {
	table, rows := mysqlRows(len(touches), `CAST(? AS BINARY(22)) AS handle, CAST(? AS SIGNED) AS at`)
	args := make([]any, 0, 2*rows+1)
	for _, t := range touches {
		args = append(args, t.Handle.String(), nanos(t.Seen))
	}
	for range rows - len(touches) {
		args = append(args, "", int64(0))
	}
	return `UPDATE ` + table + ` STRAIGHT_JOIN sessions s ON s.namespace = ? AND s.handle = k.handle ` +
		`SET s.seen = k.at WHERE TRUE` + touchable(`k.at`), append(args, namespace)
}

// loadManyMySQL returns one statement for many loads. It may return parts that
// another load has asked for.
func loadManyMySQL(loads []*loading) (string, []any) {
	// The loads nearly always have one namespace, which then need not be in the
	// table.
	one := loads[0].key.Namespace
	several := slices.ContainsFunc(loads, func(l *loading) bool { return l.key.Namespace != one })
	columns, join := `CAST(? AS SIGNED) AS n, CAST(? AS BINARY(22)) AS handle`, `?`
	if several {
		columns += `, CAST(? AS BINARY(255)) AS namespace, CAST(? AS SIGNED) AS length` // padded to 255
		join = `LEFT(k.namespace, k.length)`
	}
	table, rows := mysqlRows(len(loads), columns)
	args := make([]any, 0, 4*rows+4)
	for i := range rows {
		var k store.Key
		handle := ""
		if i < len(loads) {
			k = loads[i].key
			handle = k.Handle.String()
		}
		if args = append(args, int64(i), handle); several {
			args = append(args, k.Namespace, int64(len(k.Namespace)))
		}
	}
	if !several {
		args = append(args, one)
	}
	part, names := mysqlPartsOf(loads)
	return `SELECT k.n, ` + briefColumns + `, p.name, p.generation, p.sealed FROM ` + table +
		` STRAIGHT_JOIN sessions s ON s.namespace = ` + join + ` AND s.handle = k.handle ` +
		`LEFT JOIN session_parts p ON p.namespace = s.namespace AND p.handle = s.handle AND ` + part, append(args, names...)
}

// mysqlPartsOf returns the condition on the parts that loads ask for, and its
// arguments.
func mysqlPartsOf(loads []*loading) (condition string, names []any) {
	for _, l := range loads {
		for _, name := range l.names {
			if !slices.Contains(names, any(name)) {
				names = append(names, name)
			}
		}
	}
	if len(names) == 0 {
		return `FALSE`, nil
	}
	for range rounded(len(names)) - len(names) {
		names = append(names, names[0])
	}
	return `p.name IN (?` + strings.Repeat(`, ?`, len(names)-1) + `)`, names
}

// swapStepsMySQL does Swaps as swapping.unread does one, and notes which. The rows
// are locked first, because the products do not say which ones an UPDATE has
// changed. Swaps that remove parts are left out.
func swapStepsMySQL(ctx context.Context, tx tx, swaps []*swapping, done []bool) error {
	if err := lockSwapsMySQL(ctx, tx, swaps, done); err != nil {
		return err
	}
	namespace := swaps[0].record.Namespace
	var heads, parts []any
	var fewest []any // the parameters of the smallest part
	for i, w := range swaps {
		if !done[i] {
			continue
		}
		handle := w.record.Handle.String()
		heads = append(heads, handle, w.head, nanos(w.record.Seen))
		for _, p := range w.record.Parts {
			parts = append(parts, namespace, handle, p.Name, int64(p.Generation), p.Sealed)
			if fewest == nil || len(p.Sealed) < len(fewest[4].([]byte)) {
				fewest = parts[len(parts)-5:]
			}
		}
	}
	if len(heads) == 0 {
		return nil
	}
	if err := putHeadsMySQL(ctx, tx, namespace, heads); err != nil || len(parts) == 0 {
		return err
	}
	// A row that is written twice does no harm.
	fewest = slices.Clone(fewest)
	rows := rounded(len(parts) / 5)
	for len(parts) < 5*rows {
		parts = append(parts, fewest...)
	}
	_, err := tx.exec(ctx, `INSERT INTO session_parts (namespace, handle, name, generation, sealed) VALUES `+
		strings.Repeat(`(?, ?, ?, ?, ?), `, rows-1)+`(?, ?, ?, ?, ?) `+mysqlPutPart, parts...)
	return err
}

// lockSwapsMySQL locks the rows of the Swaps that can be done, and notes which
// ones these are.
func lockSwapsMySQL(ctx context.Context, tx tx, swaps []*swapping, done []bool) error {
	table, rows := mysqlRows(len(swaps), `CAST(? AS SIGNED) AS n, CAST(? AS BINARY(22)) AS handle, `+
		`CAST(? AS SIGNED) AS version, CAST(? AS SIGNED) AS facts, CAST(? AS SIGNED) AS locked, `+
		`CAST(? AS SIGNED) AS least, CAST(? AS SIGNED) AS most, CAST(? AS SIGNED) AS now`)
	args := make([]any, 0, 8*rows+1)
	for i, w := range swaps {
		r, handle := w.record, w.record.Handle.String()
		if slices.ContainsFunc(r.Parts, func(p store.Part) bool { return p.Sealed == nil }) {
			handle = ""
		}
		least, most := w.limits()
		args = append(args, int64(i), handle, int64(r.Version), w.facts, flag(r.Locked), least, most, nanos(w.now))
	}
	for range rows - len(swaps) {
		args = append(args, int64(0), "", int64(0), int64(0), int64(0), int64(0), int64(0), int64(0))
	}
	return tx.query(ctx, `SELECT k.n FROM `+table+` STRAIGHT_JOIN sessions s ON s.namespace = ? AND s.handle = k.handle WHERE `+
		swapManyIf+` FOR UPDATE`, append(args, swaps[0].record.Namespace), func(scan scan) error {
		var n int
		err := scan(&n)
		done[n] = err == nil
		return err
	})
}

// putHeadsMySQL writes the blobs of rows that are locked, given as handle, blob
// and when the session was seen.
func putHeadsMySQL(ctx context.Context, tx tx, namespace string, heads []any) error {
	n := len(heads) / 3
	table, rows := mysqlRows(n, `CAST(? AS BINARY(22)) AS handle, CAST(? AS BINARY) AS head, CAST(? AS SIGNED) AS seen`)
	for range rows - n {
		heads = append(heads, "", []byte{}, int64(0))
	}
	changed, err := tx.exec(ctx, `UPDATE `+table+` STRAIGHT_JOIN sessions s ON s.namespace = ? AND s.handle = k.handle `+
		`SET s.version = s.version + 1, s.head = k.head, s.seen = GREATEST(s.seen, k.seen)`, append(heads, namespace)...)
	if err == nil && changed != int64(n) {
		return fmt.Errorf("changed %d of %d rows that were locked", changed, n)
	}
	return err
}
