package storeurl

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"cloakroom.example/session/pgwatch"
	"cloakroom.example/session/store/sqlstore"
)

// connectTimeout is how long connecting may take, if the URL does not say.
const connectTimeout = 5 * time.Second

func (a *address) postgreSQL() (d database, err error) {
	config, err := a.postgreSQLConfig()
	if err != nil {
		return d, err
	}
	return database{
		dialect: sqlstore.PostgreSQL(), inspect: inspectPostgreSQL,
		connect: func() (*sql.DB, error) { return stdlib.OpenDB(*config), nil },
		watcher: pgwatch.New(config),
	}, nil
}

// postgreSQLConfig returns the configuration of connections. The driver reads what the
// URL leaves open from the environment, as PostgreSQL's own programs do, but how
// connections are encrypted is for the URL alone.
func (a *address) postgreSQLConfig() (*pgx.ConnConfig, error) {
	timeout, err := a.options.duration("connect-timeout")
	if err != nil {
		return nil, err
	}
	secured, err := a.security()
	if err != nil {
		return nil, err
	}
	config, err := pgx.ParseConfig(a.postgreSQLString())
	if err != nil {
		return nil, fmt.Errorf("configuring the driver: %w", err)
	}
	if a.secret {
		config.Password = a.password
	}
	config.ConnectTimeout = connectTimeout
	if timeout > 0 {
		config.ConnectTimeout = timeout
	}
	config.TLSConfig = nil
	if !strings.HasPrefix(config.Host, "/") {
		config.TLSConfig = secured.of(config.Host)
	}
	for _, other := range config.Fallbacks {
		other.TLSConfig = secured.of(other.Host)
	}
	return config, nil
}

// postgreSQLString is what the driver's parser gets: everything but the password,
// which it could repeat in an error.
func (a *address) postgreSQLString() string {
	var b strings.Builder
	add := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%s='%s' ", name, strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(value))
		}
	}
	var hosts, ports []string
	for _, h := range a.hosts {
		host, port := split(h, "5432")
		hosts, ports = append(hosts, host), append(ports, port)
	}
	if socket := a.options["socket"]; socket != "" {
		hosts, ports = []string{socket}, []string{"5432"}
	}
	add("host", strings.Join(hosts, ","))
	add("port", strings.Join(ports, ","))
	add("user", a.user)
	add("dbname", a.path)
	add("sslmode", "disable") // replaced by what the URL says
	add("application_name", "cloakroom")
	if len(hosts) > 1 {
		add("target_session_attrs", "read-write")
	}
	return b.String()
}

func inspectPostgreSQL(ctx context.Context, db *sql.DB, r *Report) error {
	r.Product = "PostgreSQL"
	var fsync, commit, full, standbys string
	err := ask(ctx, db,
		question{&r.Version, `SHOW server_version`}, question{&fsync, `SHOW fsync`}, question{&full, `SHOW full_page_writes`},
		question{&commit, `SHOW synchronous_commit`}, question{&standbys, `SHOW synchronous_standby_names`})
	if err != nil {
		return err
	}
	const crash = "a crash of the server's machine can destroy the database; set it to on"
	r.set("fsync", fsync, fsync != "on", crash)
	r.set("full_page_writes", full, full != "on", crash)
	r.set("synchronous_commit", choose(commit == "off", "off, but on for sessions", commit), false, "")
	r.set("synchronous_standby_names", standbys, false, "")
	switch {
	case fsync != "on":
		r.Durability = "nothing is certain after a crash of the server's machine"
	case standbys != "" && commit != "off" && commit != "local":
		r.Durability = "an acknowledged write is on the disks of the server and a standby"
	default:
		r.Durability = "an acknowledged write is on the server's disk; a standby that takes over may not have the last of them"
	}
	err = r.askSize(ctx, db, `SELECT COALESCE(SUM(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class c
		JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind = 'r' AND n.nspname = ANY (current_schemas(false)) AND (c.relname = 'sessions' OR c.relname LIKE 'session\_%')`)
	if err != nil {
		return err
	}
	return r.askClock(ctx, db, `SELECT extract(epoch FROM clock_timestamp())::float8`)
}

func choose[T any](first bool, a, b T) T {
	if first {
		return a
	}
	return b
}
