module cloakroom.example/session/redisstore

go 1.26.0

require (
	cloakroom.example/session v0.0.0
	github.com/redis/rueidis v1.0.79
)

require golang.org/x/sys v0.47.0 // indirect

replace cloakroom.example/session => ../
