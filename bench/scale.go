package main

import "time"

// scale says how much is measured.
type scale struct {
	Name string

	// Requests in this process: rounds, and the time of a contender in each.
	rounds int
	batch  time.Duration
	// The same for what has to wait for a disk.
	longRounds int
	longBatch  time.Duration

	loadRounds int           // of the servers
	loadTime   time.Duration // of one server in a round
	footprints int           // processes with very many sessions, for each library
	sessions   int           // in each
	largeSite  int           // sessions of a large site

	reads   int // that are watched for what they write
	repeats int // of parallel changes

	storedSessions int           // in a database server …
	largeStore     int           // … and in one with many
	touchSessions  int           // that share the requests of the row about touches …
	touchTime      time.Duration // … and how much of that traffic

	trials     int // of logouts, with our libraries …
	peerTrials int // … and with those of others
}

// full is for numbers to publish.
func full() scale {
	return scale{
		Name: "full", rounds: 100, batch: 10 * time.Millisecond, longRounds: 25, longBatch: 300 * time.Millisecond,
		loadRounds: 9, loadTime: 2 * time.Second, footprints: 3, sessions: 1_000_000, largeSite: 10_000_000,
		reads: 1000, repeats: 20, trials: 1000, peerTrials: 100,
		storedSessions: 100_000, largeStore: 1_000_000, touchSessions: 100_000, touchTime: 20 * time.Second,
	}
}

// quick is for looking what a change has done.
func quick() scale {
	return scale{
		Name: "quick", rounds: 31, batch: 8 * time.Millisecond, longRounds: 7, longBatch: 150 * time.Millisecond,
		loadRounds: 3, loadTime: time.Second, footprints: 1, sessions: 1_000_000, largeSite: 1_000_000,
		reads: 1000, repeats: 5, trials: 200, peerTrials: 20,
		storedSessions: 20_000, largeStore: 100_000, touchSessions: 20_000, touchTime: 5 * time.Second,
	}
}

// tiny is for tests: everything happens, and the times mean nothing.
func tiny() scale {
	return scale{
		Name: "tiny", rounds: 3, batch: time.Millisecond, longRounds: 2, longBatch: 10 * time.Millisecond,
		loadRounds: 2, loadTime: 20 * time.Millisecond, footprints: 1, sessions: 2_000, largeSite: 2_000,
		reads: 100, repeats: 2, trials: 16, peerTrials: 4,
		storedSessions: 400, largeStore: 2_000, touchSessions: 400, touchTime: 100 * time.Millisecond,
	}
}

// scaleNamed returns a scale by its name.
func scaleNamed(name string) scale {
	for _, s := range []scale{quick(), tiny()} {
		if s.Name == name {
			return s
		}
	}
	return full()
}
