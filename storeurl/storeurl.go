// Package storeurl opens session stores by URL.
package storeurl

import (
	_ "cloakroom.example/session/pgwatch"
	_ "cloakroom.example/session/redisstore"
	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"
)
