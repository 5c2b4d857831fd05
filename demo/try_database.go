package demo

import (
	"context"
	"fmt"
	"strings"
	"time"

	"cloakroom.example/session"
)

// The laboratory's way into the database, past the session library, as a thief
// would have it. The tables are the same in all SQL databases.

// The engines that a shop can keep its sessions in.
const (
	EngineMemory     = "memory"
	EngineSQLite     = "sqlite"
	EnginePostgreSQL = "postgres"
	EngineMySQL      = "mysql"
	EngineRedis      = "redis"
)

// elsewhere says why the laboratory cannot get at the rows of a database.
func (l *lab) elsewhere() string {
	switch {
	case l.copies:
		return "This shop keeps copies of its sessions near, and an edited row would only be seen when the session changes."
	case l.engine == EngineRedis:
		return "This shop keeps its sessions in Redis, which has no rows."
	}
	return "This shop was started without a database: its sessions are in its memory, where nobody else can write."
}

// closed says why an attack cannot be run, or nothing if it can.
func (l *lab) closed(a *attack) string {
	if !a.Database || l.database != nil {
		return ""
	}
	return l.elsewhere()
}

// bind rewrites the ? of a statement into what the database expects.
func (l *lab) bind(query string) string {
	if l.engine != EnginePostgreSQL {
		return query
	}
	for n := 1; strings.Contains(query, "?"); n++ {
		query = strings.Replace(query, "?", fmt.Sprint("$", n), 1)
	}
	return query
}

// lateBy is more than the time for which late requests are refused quietly.
const lateBy = time.Minute

// value returns what a column says about a session.
func (l *lab) value(ctx context.Context, h session.Handle, column string) (value any, err error) {
	err = l.database.QueryRowContext(ctx, l.bind(`SELECT `+column+` FROM sessions WHERE namespace = '' AND handle = ?`), h.String()).Scan(&value)
	if text, ok := value.([]byte); ok {
		value = string(text) // how MySQL answers
	}
	return value, err
}

// edit changes the row of a session, and reports whether there was one.
func (r *run) edit(ctx context.Context, h session.Handle, set string, args ...any) bool {
	if r.over() {
		return false
	}
	changed, err := r.update(ctx, h, set, args...)
	if changed != 1 && err == nil {
		r.unsure("there was no row to edit")
	}
	return changed == 1
}

// setRight gives a column back the value that it had. It does so also when the run
// is over: nothing tampered with is left behind by a visitor who hangs up.
func (r *run) setRight(h session.Handle, column string, before any) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), r.lab.patience)
	defer cancel()
	if _, err := r.update(ctx, h, column+" = ?", before); err != nil {
		r.lab.logger.Error("demo: setting a row right after an attack", "session", h.String(), "error", err)
	}
}

func (r *run) update(ctx context.Context, h session.Handle, set string, args ...any) (changed int64, err error) {
	changed, err = r.lab.exec(ctx, `UPDATE sessions SET `+set+` WHERE namespace = '' AND handle = ?`, append(args, h.String())...)
	if err != nil {
		r.fail(fmt.Errorf("editing a row: %w", err))
	}
	return changed, err
}

// age sets back the time at which a session ended.
func (r *run) age(h session.Handle) {
	r.edit(r.ctx, h, `ended_at = ended_at - ?`, lateBy.Nanoseconds())
}

// exec changes the database on a connection that waits for its turn, as the
// library's own writer holds the lock now and then.
func (l *lab) exec(ctx context.Context, query string, args ...any) (changed int64, err error) {
	conn, err := l.database.Conn(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if l.engine == EngineSQLite {
		if _, err := conn.ExecContext(ctx, `PRAGMA busy_timeout = 2000`); err != nil {
			return 0, err
		}
	}
	done, err := conn.ExecContext(ctx, l.bind(query), args...)
	if err != nil {
		return 0, err
	}
	return done.RowsAffected()
}

// cell is one column of a row: its value as text, or as bytes.
type cell struct {
	Column string
	Text   string
	About  string // what it is, where that matters
	raw    []byte
}

// tableRow is one row of a table as somebody sees it who has the database.
type tableRow struct {
	Table string
	Cells []cell // none if the table has no row of this session
}

// rows returns what the tables hold about a session, row by row.
func (l *lab) rows(ctx context.Context, h session.Handle, subject string) (all []tableRow, err error) {
	for _, q := range []struct {
		table, where string
		args         []any
	}{
		{"sessions", `namespace = '' AND handle = ?`, []any{h.String()}},
		{"session_parts", `namespace = '' AND handle = ?`, []any{h.String()}},
		{"session_links", `namespace = '' AND handle = ?`, []any{h.String()}},
		{"session_revocations", `namespace = '' AND kind = 'subject' AND name = ?`, []any{[]byte(subject)}},
		{"session_epochs", `namespace = ''`, nil},
	} {
		found, err := l.table(ctx, q.table, `SELECT * FROM `+q.table+` WHERE `+q.where, q.args...)
		if err != nil {
			return nil, fmt.Errorf("reading table %s: %w", q.table, err)
		}
		all = append(all, found...)
	}
	return all, nil
}

// table returns the rows of one query, or one without cells if there is none.
func (l *lab) table(ctx context.Context, name, query string, args ...any) (all []tableRow, err error) {
	rows, err := l.database.QueryContext(ctx, l.bind(query), args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	for rows.Next() {
		values, dest := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			dest[i] = &values[i]
		}
		if err := rows.Scan(dest...); err != nil {
			return nil, err
		}
		row := tableRow{Table: name}
		for i, column := range columns {
			row.Cells = append(row.Cells, newCell(column, values[i]))
		}
		all = append(all, row)
	}
	if len(all) == 0 {
		all = append(all, tableRow{Table: name})
	}
	return all, rows.Err()
}

// shownBytes is how much of a long value is shown.
const shownBytes = 48

// newCell shows a value as a thief's tool would: text as text, bytes in
// hexadecimal.
func newCell(column string, value any) cell {
	c := cell{Column: column, About: about(column)}
	if text, ok := value.([]byte); ok && isText(column) {
		value = string(text) // MySQL keeps texts as bytes
	}
	switch v := value.(type) {
	case []byte:
		c.raw = v
		c.Text = hexText(v)
	case string:
		c.raw, c.Text = []byte(v), v
		if v == "" {
			c.Text = "(empty)"
		}
	case nil:
		c.Text = "(null)"
	default:
		c.Text = fmt.Sprint(v)
		c.raw = []byte(c.Text)
	}
	return c
}

// isText reports whether a column holds what people can read.
func isText(column string) bool {
	switch column {
	case "namespace", "handle", "subject", "role", "tenant", "cause", "ended_by", "kind":
		return true
	}
	return false
}

// about says what a column holds, of those that the thief will look at.
func about(column string) string {
	switch column {
	case "handle":
		return "the session’s public name: a hash of the first third of your ticket"
	case "subject":
		return "who you are; readable, because lists and searches need it"
	case "head":
		return "the rest of the record: your address and browser, and the two below"
	case "head → verifier", "verifier":
		return "a hash of the other two thirds of your ticket"
	case "head → wrapped key", "wrapped key":
		return "the key to your data, encrypted under your ticket and a key of the shop"
	case "sealed":
		return "your basket and the like, encrypted"
	}
	return ""
}

// hexText writes bytes in groups of four, so that they can be broken into lines.
func hexText(b []byte) string {
	if len(b) == 0 {
		return "(no bytes)"
	}
	var groups []string
	for i := 0; i < len(b) && i < shownBytes; i += 4 {
		groups = append(groups, fmt.Sprintf("%x", b[i:min(i+4, len(b), shownBytes)]))
	}
	text := strings.Join(groups, " ")
	if len(b) > shownBytes {
		text += fmt.Sprintf(" … %d bytes", len(b))
	}
	return text
}

// column returns the value of a column, as it is stored.
func column(rows []tableRow, table, name string) []byte {
	for _, row := range rows {
		for _, c := range row.Cells {
			if row.Table == table && c.Column == name {
				return c.raw
			}
		}
	}
	return nil
}
