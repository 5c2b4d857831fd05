package sqlstore

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// SQLite copies its write-ahead log back into the database file while a
// transaction commits, once the log is long enough, and that transaction's
// callers wait for it. The checkpointer does the copying beside the writer, on a
// connection of its own. Only what was written meanwhile has to be copied while
// the writer stands still; then the log starts again at its beginning.
const (
	// checkpointPages is when the log is copied: 8 MiB.
	checkpointPages = 2048
	// checkpointHold is up to which remainder the writer is held: 2 MiB.
	checkpointHold = 512
	// checkpointBackstop is when SQLite does it inside a commit after all.
	checkpointBackstop = 32768
	// pagesPerOperation is how much an operation is taken to write. SQLite
	// tells the true length of the log only when asked to copy it.
	pagesPerOperation = 4
	// checkpointQuiet is after how long without writes the rest is copied.
	checkpointQuiet = time.Second
)

type checkpointer struct {
	connect func(ctx context.Context) (*connection, error)
	gate    *sync.Mutex // held by the writer during a transaction

	written atomic.Int64 // pages since the last checkpoint, estimated
	wake    chan struct{}
	stop    chan struct{}
	exited  chan struct{}
	conn    *connection
}

func (c *checkpointer) start() {
	c.wake, c.stop, c.exited = make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
	go c.loop()
}

// committed notes what was written and wakes the checkpointer when it is time.
func (c *checkpointer) committed(operations int) {
	if c.written.Add(int64(operations*pagesPerOperation)) < checkpointPages {
		return
	}
	select {
	case c.wake <- struct{}{}:
	default: // it is awake
	}
}

func (c *checkpointer) loop() {
	defer close(c.exited)
	quiet := time.NewTicker(checkpointQuiet)
	defer quiet.Stop()
	var last int64
	for {
		select {
		case <-c.wake:
			c.round()
		case <-quiet.C:
			if n := c.written.Load(); n > 0 && n == last {
				c.checkpoint("PASSIVE")
			}
			last = c.written.Load()
		case <-c.stop:
			// Readers in other processes may be in the way; the next one who
			// opens the database goes on.
			c.checkpoint("TRUNCATE")
			if c.conn != nil {
				c.conn.close()
			}
			return
		}
	}
}

// round copies the log beside the writer until little is left, then the rest
// while the writer waits.
func (c *checkpointer) round() {
	for range 4 {
		log, copied, ok := c.checkpoint("PASSIVE")
		if !ok || log == copied && c.written.Load() == 0 {
			return
		}
		if c.written.Load() <= checkpointHold {
			break
		}
	}
	c.gate.Lock()
	defer c.gate.Unlock()
	c.checkpoint("PASSIVE")
}

// checkpoint returns the pages in the log and how many of them are in the
// database file. Failures are not reported: the log stays, nothing is lost, and
// the next round tries again.
func (c *checkpointer) checkpoint(mode string) (log, copied int64, ok bool) {
	ctx := context.Background()
	var err error
	if c.conn == nil {
		if c.conn, err = c.connect(ctx); err != nil {
			c.conn = nil
			return 0, 0, false
		}
	}
	c.written.Store(0)
	var busy int64
	err = readOne(ctx, c.conn, `PRAGMA wal_checkpoint(`+mode+`)`, nil, &busy, &log, &copied)
	if err != nil {
		c.conn.close()
		c.conn = nil
		return 0, 0, false
	}
	return log, copied, true
}
