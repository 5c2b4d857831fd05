package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"cloakroom.example/servers"
	"cloakroom.example/session/store/sqlstore"
	"github.com/alexedwards/scs/mysqlstore"
	"github.com/go-sql-driver/mysql"
)

// mariadbEngine is a server that flushes every commit to the disk, as it does by
// default.
func mariadbEngine() engine {
	return engine{
		id: "mariadb", name: "MariaDB", unit: "statements", log: "redo", databases: true, goal: 3,
		start: servers.StartMariaDB,
		ours:  oursOnMariaDB,
		peers: []func(context.Context, place) (library, error){scsOnMariaDB(scsIdle), scsOnMariaDB(0)},
		work:  mariadbWork,
	}
}

// mariadbConfig is what the driver needs to reach the place.
func mariadbConfig(p place) (*mysql.Config, error) {
	u, err := url.Parse(p.url)
	if err != nil {
		return nil, err
	}
	c := mysql.NewConfig()
	c.Net, c.Addr, c.User, c.DBName = "tcp", u.Host, u.User.Username(), strings.TrimPrefix(u.Path, "/")
	c.Passwd, _ = u.User.Password()
	return c, nil
}

func mariadbHandle(c *mysql.Config) (*sql.DB, error) {
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}

func oursOnMariaDB(ctx context.Context, p place, _ bool) (*cloakroom, error) {
	config, err := mariadbConfig(p)
	if err != nil {
		return nil, err
	}
	db, err := mariadbHandle(config)
	if err != nil {
		return nil, err
	}
	s, err := sqlstore.Open(ctx, db, sqlstore.MySQL(), sqlstore.Options{})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	release := func(ctx context.Context) error { return errors.Join(s.Close(ctx), db.Close()) }
	return nearBy(nearLabel(false), s, false, nil, release)
}

// scsOnMariaDB has the schema of its README. Two things are in its favour: idle
// connections stay, where database/sql would close all but two, and as many are
// open as there are requests in parallel.
func scsOnMariaDB(idle time.Duration) func(context.Context, place) (library, error) {
	return func(ctx context.Context, p place) (library, error) {
		config, err := mariadbConfig(p)
		if err != nil {
			return nil, err
		}
		config.ParseTime = true // "you should use parseTime=true"
		db, err := mariadbHandle(config)
		if err != nil {
			return nil, err
		}
		db.SetMaxOpenConns(writers)
		db.SetMaxIdleConns(writers)
		for _, statement := range []string{
			`CREATE TABLE sessions (token CHAR(43) COLLATE utf8mb4_bin PRIMARY KEY, data BLOB NOT NULL, expiry TIMESTAMP(6) NOT NULL) CHARACTER SET utf8mb4`,
			`CREATE INDEX sessions_expiry_idx ON sessions (expiry)`,
		} {
			if _, err := db.ExecContext(ctx, statement); err != nil {
				return nil, errors.Join(err, db.Close())
			}
		}
		l := newSCS(idle)
		// The clean-up, every five minutes by default, would outlive the row.
		l.m.Store, l.release = mysqlstore.NewWithCleanupInterval(db, 0), db.Close
		return l, nil
	}
}

// mariadbWork counts what clients have asked the whole server, and its redo log.
// A statement that is prepared first is two.
func mariadbWork(ctx context.Context, p place) (u work, err error) {
	text, err := p.server.Run(ctx, `SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS
		WHERE VARIABLE_NAME IN ('COM_STMT_PREPARE', 'INNODB_OS_LOG_WRITTEN', 'QUESTIONS') ORDER BY VARIABLE_NAME`)
	if err != nil {
		return u, err
	}
	var prepared, asked float64
	if _, err := fmt.Sscan(text, &prepared, &u.logBytes, &asked); err != nil {
		return u, fmt.Errorf("reading %q: %w", text, err)
	}
	u.statements = prepared + asked
	return u, nil
}
