package demo

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"hash/maphash"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"cloakroom.example/session"
	"cloakroom.example/session/store"
)

// Bounds of the laboratory.
const (
	runTime      = 10 * time.Second // for one attack
	runsAtOnce   = 4
	runsPerBurst = 40 // from one source, then one every …
	runEvery     = 3 * time.Second
	resultTime   = 15 * time.Minute
	resultOwners = 100
)

// guest is whose sessions are attacked where nobody is signed in. Nobody can
// sign in as guest: there is no such account.
const guest = "guest"

// lab is where visitors attack the shop. Each run has a server of its own, which
// nobody else can reach, before the same sessions, pages and store.
type lab struct {
	shop     *Shop
	attacks  []*attack
	store    store.Store
	database *sql.DB // nil if there is none, or if editing it has no effect at once
	engine   string
	copies   bool // the store answers from copies, which know of no edits
	logger   *slog.Logger
	// front is nil. Tests put a shop with bad sessions there, to see that the
	// laboratory notices.
	front    func(http.Handler) http.Handler
	patience time.Duration // how long one attack may take

	seed  maphash.Seed
	slots chan struct{} // holds one for each run

	mu      sync.Mutex
	sources [1024]*rate.Limiter
	busy    map[owner]bool
	results map[owner]*shelf
}

// owner is who has started a run: a session, or the form cookie of a visitor
// without one, hashed.
type owner [sha256.Size]byte

// shelf keeps the last result of each attack for its owner, for a while.
type shelf struct {
	used    time.Time
	results map[*attack]*result
}

func newLab(s *Shop, o Options) *lab {
	l := &lab{
		shop: s, attacks: attacks(), store: s.store, database: o.Database, engine: o.Engine, logger: o.Logger,
		patience: runTime, seed: maphash.MakeSeed(), slots: make(chan struct{}, runsAtOnce),
		busy: make(map[owner]bool), results: make(map[owner]*shelf),
	}
	if l.engine == "" {
		l.engine = choose(l.database == nil, EngineMemory, EngineSQLite)
	}
	if c, ok := l.store.(store.Copier); ok && c.ServesCopies() {
		l.database, l.copies = nil, true
	}
	if l.logger == nil {
		l.logger = slog.Default()
	}
	return l
}

// find returns the index of an attack by its name, or -1.
func (l *lab) find(name string) int {
	return slices.IndexFunc(l.attacks, func(a *attack) bool { return a.Name == name })
}

// ownerOf returns who makes a request. Form tokens have proved that there is one
// of the two.
func ownerOf(r *http.Request) owner {
	if h := session.From(r.Context()).Handle(); !h.IsZero() {
		return sha256.Sum256([]byte("session " + h.String()))
	}
	if c, err := r.Cookie(formCookie); err == nil {
		return sha256.Sum256([]byte("visitor " + c.Value))
	}
	return owner{}
}

// enter admits somebody for a number of runs, one at a time, or says how long to
// wait.
func (l *lab) enter(r *http.Request, who owner, runs int) (leave func(), wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.busy[who] {
		return nil, runEvery
	}
	if wait := l.spendLocked(sourceOf(r), runs, time.Now()); wait > 0 {
		return nil, wait
	}
	l.busy[who] = true
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.busy, who)
	}, 0
}

// spendLocked takes runs from what a source may have, or returns how long to
// wait for that.
func (l *lab) spendLocked(source netip.Prefix, runs int, now time.Time) time.Duration {
	place := &l.sources[maphash.Comparable(l.seed, source)%uint64(len(l.sources))]
	if limiter(place, runEvery, runsPerBurst).AllowN(now, runs) {
		return 0
	}
	return time.Duration(runs) * runEvery
}

// keep puts a result onto its owner's shelf.
func (l *lab) keep(who owner, res *result) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tidyLocked(res.At)
	s := l.results[who]
	if s == nil {
		if len(l.results) >= resultOwners {
			l.dropOldestLocked()
		}
		s = &shelf{results: make(map[*attack]*result)}
		l.results[who] = s
	}
	s.used = res.At
	s.results[res.Attack] = res
}

// kept returns the owner's last result of an attack, or nil.
func (l *lab) kept(who owner, a *attack) *result {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tidyLocked(time.Now())
	if s := l.results[who]; s != nil {
		return s.results[a]
	}
	return nil
}

func (l *lab) tidyLocked(now time.Time) {
	for who, s := range l.results {
		if now.Sub(s.used) > resultTime {
			delete(l.results, who)
		}
	}
}

func (l *lab) dropOldestLocked() {
	var oldest owner
	for who, s := range l.results {
		if first := l.results[oldest]; first == nil || s.used.Before(first.used) {
			oldest = who
		}
	}
	delete(l.results, oldest)
}

// try runs one attack for whoever makes the request, and clears up after it.
func (l *lab) try(req *http.Request, a *attack) *result {
	ctx, cancel := context.WithTimeout(req.Context(), l.patience)
	defer cancel()
	r := l.newRun(ctx, req)
	select {
	case l.slots <- struct{}{}:
		defer func() { <-l.slots }()
	case <-ctx.Done():
		r.fail(ctx.Err())
		return r.result(a)
	}
	net := newNetwork(req.RemoteAddr)
	server := &http.Server{
		Handler: r.handler(), ReadHeaderTimeout: l.patience,
		ErrorLog: slog.NewLogLogger(l.logger.Handler(), slog.LevelError),
	}
	go func() { _ = server.Serve(net) }() // ends when it is closed
	r.transport = &http.Transport{DialContext: net.dial, DisableCompression: true}
	defer func() {
		r.transport.CloseIdleConnections()
		_ = server.Close() // what hangs is cut off
		r.clearUp(req.Context())
	}()
	a.run(r)
	r.gather(ctx)
	return r.result(a)
}

// newRun prepares a run for whoever makes the request.
func (l *lab) newRun(ctx context.Context, req *http.Request) *run {
	r := &run{
		shop: l.shop, lab: l, ctx: ctx, id: rand.Text()[:12], host: req.Host, agent: req.UserAgent(),
		since:    l.shop.journal.now(),
		identity: session.Identity{Subject: guest},
		slowly:   make(chan struct{}, 8), resume: make(chan struct{}),
		letters: make(map[string]int), made: make(map[session.Handle]bool),
	}
	current := session.From(req.Context())
	if c, err := req.Cookie(ticketCookie); err == nil && current.Subject() != "" {
		r.mine, r.handle = c.Value, current.Handle()
		r.identity.Subject, r.identity.Role = current.Subject(), current.Role()
	}
	r.identity.Label = "made for an attack on /try"
	r.identity.Absolute = time.Hour // it ends by itself, whatever becomes of us
	return r
}
