package storeurl

import (
	"context"
	"database/sql"
	"errors"
	"io"
	"log"
	"strings"

	"github.com/go-sql-driver/mysql"

	"cloakroom.example/session/store/sqlstore"
)

func (a *address) mySQL() (d database, err error) {
	config, err := a.mySQLConfig()
	if err != nil {
		return d, err
	}
	return database{
		dialect: sqlstore.MySQL(), inspect: inspectMySQL,
		connect: func() (*sql.DB, error) {
			connector, err := mysql.NewConnector(config)
			if err != nil {
				return nil, err
			}
			return sql.OpenDB(connector), nil
		},
	}, nil
}

// mySQLConfig returns the configuration of connections.
func (a *address) mySQLConfig() (*mysql.Config, error) {
	if len(a.hosts) > 1 {
		return nil, errors.New("storeurl: mysql:// takes one host; several servers are reached through one name or a proxy")
	}
	if a.path == "" {
		return nil, errors.New("storeurl: mysql:// needs the name of a database: mysql://host/database")
	}
	c := mysql.NewConfig()
	c.User, c.Passwd, c.DBName = a.user, a.password, a.path
	// The driver complains about broken connections, which come back to the caller anyway.
	c.Logger = log.New(io.Discard, "", 0)
	timeout, err := a.options.duration("connect-timeout")
	if err != nil {
		return nil, err
	}
	if c.Timeout = connectTimeout; timeout > 0 {
		c.Timeout = timeout
	}
	secured, err := a.security()
	if err != nil {
		return nil, err
	}
	if socket := a.options["socket"]; socket != "" {
		c.Net, c.Addr = "unix", socket
		return c, nil
	}
	c.Net, c.Addr = "tcp", withPort(a.hosts[0], "3306")
	c.TLS = secured.of(c.Addr)
	return c, nil
}

func inspectMySQL(ctx context.Context, db *sql.DB, r *Report) error {
	var flush, doublewrite, binlog string
	err := ask(ctx, db,
		question{&r.Version, `SELECT VERSION()`}, question{&flush, `SELECT @@innodb_flush_log_at_trx_commit`},
		question{&doublewrite, `SELECT @@innodb_doublewrite`}, question{&binlog, `SELECT IF(@@log_bin, @@sync_binlog, -1)`})
	if err != nil {
		return err
	}
	r.Product = choose(strings.Contains(r.Version, "MariaDB"), "MariaDB", "MySQL")
	r.set("innodb_flush_log_at_trx_commit", flush, flush != "1",
		"the last second of acknowledged writes can be lost with the server's machine; set it to 1")
	r.set("innodb_doublewrite", doublewrite, doublewrite == "0" || doublewrite == "OFF",
		"a crash of the server's machine can destroy the database; turn it on")
	if binlog != "-1" {
		r.set("sync_binlog", binlog, binlog != "1",
			"after a crash of the server's machine replicas can miss acknowledged writes; set it to 1")
	}
	r.Durability = choose(flush == "1",
		"an acknowledged write is on the server's disk; a replica that takes over may not have the last of them",
		"acknowledged writes of the last second can be lost with the server's machine")
	err = r.askSize(ctx, db, `SELECT COALESCE(SUM(data_length + index_length), 0) FROM information_schema.tables
		WHERE table_schema = DATABASE() AND (table_name = 'sessions' OR table_name LIKE 'session\\_%')`)
	if err != nil {
		return err
	}
	return r.askClock(ctx, db, `SELECT UNIX_TIMESTAMP(SYSDATE(6))`)
}
