// Package pgwatch reports what other nodes change in a PostgreSQL database.
package pgwatch

import (
	_ "cloakroom.example/session/store"
	_ "github.com/jackc/pgx/v5"
)
