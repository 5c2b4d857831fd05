package nearcache

import (
	"time"

	"cloakroom.example/session/store"
)

// NewAt is New with another clock.
func NewAt(s store.Store, o Options, now func() time.Time) (Store, error) {
	c, err := newCache(s, o)
	if err != nil {
		return nil, err
	}
	c.now = now
	return c.sweeping(), nil
}
