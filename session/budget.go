package session

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"

	"cloakroom.example/session/store"
)

// budget limits the sessions that visitors cause before they sign in: per source
// address, and in all. Its memory is fixed: addresses share a bucket when their
// hashes collide, under a seed nobody can predict.
type budget struct {
	seed      maphash.Seed
	perMinute int
	most      int

	mu      sync.Mutex
	buckets [budgetBuckets]bucket
	live    int // anonymous sessions at the last count …
	since   int // … and those created by us since
}

const budgetBuckets = 8192

// bucket is a token bucket, filled up when it is looked at.
type bucket struct {
	spent float64
	at    time.Time
}

func newBudget(perMinute, most int) *budget {
	return &budget{seed: maphash.MakeSeed(), perMinute: perMinute, most: most}
}

// take reports whether one more anonymous session may be created for a visitor
// from the source. With shared, the source may stand for any number of visitors,
// and only the cap counts.
func (b *budget) take(from netip.Prefix, shared bool, now time.Time) bool {
	index := maphash.Comparable(b.seed, from) % budgetBuckets
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.live+b.since >= b.most {
		return false
	}
	if !shared && !b.spendLocked(&b.buckets[index], now) {
		return false
	}
	b.since++
	return true
}

func (b *budget) spendLocked(k *bucket, now time.Time) bool {
	if k.at.Sub(now) > store.ClockSkew { // the clock was set back
		k.at = now
	}
	if passed := now.Sub(k.at); passed > 0 {
		k.spent = max(0, k.spent-passed.Minutes()*float64(b.perMinute))
		k.at = now
	}
	if k.spent+1 > float64(b.perMinute) {
		return false
	}
	k.spent++
	return true
}

// counted tells how many anonymous sessions there are.
func (b *budget) counted(live int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.live, b.since = live, 0
}
