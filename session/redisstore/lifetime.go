package redisstore

import (
	"strconv"
	"time"

	"cloakroom.example/session/store"
)

// Keys last, by the clock of the engine, for as long as something may be asked
// about them by the clock of a caller, and a little longer. That is
// housekeeping only: whether a session is alive is decided by the caller's time.
const (
	// keepTime is how long a session is kept after its end.
	keepTime = store.TombstoneTime + 10*time.Minute
	// foundTime is how long, beyond that, what it is found by is kept.
	foundTime = time.Hour
	// prolongTime is for how much longer it is kept at a time where sessions
	// have no deadline, so that it has to be prolonged rarely: due of times.lua
	// counts in it.
	prolongTime = 24 * time.Hour
	// unsettledTime is how long a session lasts whose creation is not finished.
	unsettledTime = 2 * time.Minute
	// leaseTime is how long a reservation keeps others waiting: less than they
	// have, should its maker have died. One that is slower loses it, at worst.
	leaseTime = time.Second
)

// millis writes a lifetime for the scripts: empty means for ever.
func millis(d time.Duration, ends bool) string {
	if !ends {
		return ""
	}
	return strconv.FormatInt(max(1, d.Milliseconds()), 10)
}

// until is how long it is from now to the end, and for some time more. It is
// cut off after two hundred years, where neither we nor the engine can count on.
func until(end, now time.Time, more time.Duration) time.Duration {
	const most = 200 * 365 * 24 * time.Hour
	return min(max(0, end.Sub(now)), most) + more
}

// lifetime is how long a session is kept from now on.
func lifetime(r *store.Record, now time.Time) string {
	if r.Ended() {
		return millis(until(r.End.At, now, keepTime), true)
	}
	end := r.Expiry()
	return millis(until(end, now, keepTime), !end.IsZero())
}

// foundFor is how long what a session is found by is kept from now on.
func foundFor(r *store.Record, now time.Time) string {
	plain := *r
	plain.Idle = 0
	if end := plain.Expiry(); !end.IsZero() {
		return millis(until(end, now, keepTime+foundTime), true)
	}
	idle := until(now.Add(r.Idle), now, prolongTime+keepTime+foundTime)
	return millis(idle, r.Idle > 0 && !r.IdleLocks)
}
