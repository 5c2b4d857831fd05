package demo_test

import (
	"sync"
	"time"

	"cloakroom.example/demo"
)

// clock is a clock that tests put forward.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

// onClock makes a shop tell the time by the clock.
func (c *clock) onClock(o *demo.Options) {
	c.now = time.Now()
	o.Now = c.read
}

func (c *clock) read() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) forward(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}
