package servers

import (
	"context"
	"errors"
	"fmt"
	"regexp"
)

var databaseName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,60}$`)

// NewDatabase makes an empty database on a PostgreSQL or MariaDB server and
// returns its URL. The name is made of small letters, digits and underscores.
func (s *Server) NewDatabase(ctx context.Context, name string) (string, error) {
	if _, ok := s.engine.(redis); ok {
		return "", errors.New("servers: Redis has no named databases: use a prefix")
	}
	if !databaseName.MatchString(name) {
		return "", fmt.Errorf("servers: %q is no name for a database", name)
	}
	if _, err := s.Run(ctx, "CREATE DATABASE "+name); err != nil {
		return "", fmt.Errorf("making the database %s: %w", name, err)
	}
	return s.engine.url(s, name), nil
}
