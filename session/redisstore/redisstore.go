// Package redisstore keeps sessions in Redis or Valkey.
package redisstore

import (
	_ "cloakroom.example/session/store"
	_ "github.com/redis/rueidis"
)
