package demo

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Password attempts: a few at once, then slowly. Counted for a source and an
// account together, so that nobody can lock out somebody else; and for a source
// alone, so that trying one password on many names is no way round.
const (
	triesPerAccount = 20
	triesPerSource  = 100
	accountEvery    = 10 * time.Second
	sourceEvery     = 2 * time.Second
)

// attempts limits the guessing of passwords. Its memory is fixed: what hashes to
// the same place shares a limit, under a seed nobody can predict.
type attempts struct {
	seed maphash.Seed

	mu      sync.Mutex
	account [2048]*rate.Limiter
	source  [2048]*rate.Limiter
}

func newAttempts() *attempts { return &attempts{seed: maphash.MakeSeed()} }

// attempt is what attempts on one account from one source have in common.
type attempt struct {
	source  netip.Prefix
	account string
}

// take counts one attempt. It returns how long to wait, in whole seconds, if the
// attempt may not be made yet; and otherwise what to call if it was right.
func (a *attempts) take(source netip.Prefix, account string, now time.Time) (forgive func(), wait time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	bySource := limiter(&a.source[maphash.Comparable(a.seed, source)%uint64(len(a.source))], sourceEvery, triesPerSource)
	counted, wait := reserve(bySource, now)
	if wait > 0 {
		return nil, wait
	}
	if _, wait = reserve(limiter(a.accountLocked(source, account), accountEvery, triesPerAccount), now); wait > 0 {
		return nil, wait
	}
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		*a.accountLocked(source, account) = nil
		// Only this attempt is taken back: who has an account of his own must
		// not gain more guesses by it.
		counted.CancelAt(now)
	}, 0
}

func (a *attempts) accountLocked(source netip.Prefix, account string) **rate.Limiter {
	return &a.account[maphash.Comparable(a.seed, attempt{source, account})%uint64(len(a.account))]
}

// limiter returns what is at a place, or puts a new limiter there.
func limiter(place **rate.Limiter, every time.Duration, burst int) *rate.Limiter {
	if *place == nil {
		*place = rate.NewLimiter(rate.Every(every), burst)
	}
	return *place
}

// reserve takes one token, or returns how long it would have to wait.
func reserve(l *rate.Limiter, now time.Time) (*rate.Reservation, time.Duration) {
	r := l.ReserveN(now, 1)
	wait := r.DelayFrom(now)
	if wait == 0 {
		return r, 0
	}
	r.CancelAt(now) // a refused attempt does not prolong the wait
	return nil, wait.Truncate(time.Second) + time.Second
}
